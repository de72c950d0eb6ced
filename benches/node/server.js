// The benchmarks' stand-in for the original: redis-sessions behind Express, with the ten routes of rest-sessions 2.0.1.
// Unlike the original's default it logs no requests.
//
//   node server.js VERSION PORT REDIS_PORT     3 or 4, and ports of 127.0.0.1
'use strict';

const express = require('express');

const [version, port, redisPort] = process.argv.slice(2);
const settings = { host: '127.0.0.1', port: Number(redisPort) };

// Version 3 takes callbacks and answers {} for a missing session.
function version3() {
    const RedisSessions = require('redis-sessions-3');
    const sessions = new RedisSessions(settings);
    return (name, options, done) => (name === 'ping' ? sessions.ping(done) : sessions[name](options, done));
}

// Version 4 returns promises, names dt deltaTime, requires numbers, and answers null for a missing session.
function version4() {
    const RedisSessions = require('redis-sessions-4').default;
    const sessions = new RedisSessions(settings);
    return (name, { dt, ttl, ...options }, done) => {
        if (dt !== undefined) options.deltaTime = Number(dt);
        if (ttl !== undefined) options.ttl = Number(ttl);
        sessions[name](options).then(answer => done(null, answer ?? {}), done);
    };
}

const call = { 3: version3, 4: version4 }[version]();

// A route that calls the operation with the options that `pick` extracts from the request.
const route = (name, pick) => (request, response) => {
    call(name, { app: request.params.app, ...pick(request) }, (error, answer) => {
        response.type('json').status(error ? 500 : 200).send(error || answer);
    });
};
const id = ({ params }) => ({ id: params.id });
const token = ({ params }) => ({ token: params.token });
const dt = ({ query }) => ({ dt: query.dt });
const nothing = () => ({});

function created({ params, query, body }) {
    const options = { id: params.id, ip: query.ip, ttl: query.ttl };
    if (['true', '1'].includes(query.no_resave)) options.no_resave = true;
    if (Object.keys(body).length > 0) options.d = body;
    return options;
}

const app = express();
app.use(express.json({ limit: 60000 }));
app.put('/:app/create/:id', route('create', created));
app.get('/:app/get/:token', route('get', token));
app.post('/:app/set/:token', route('set', ({ params, body }) => ({ token: params.token, d: body })));
app.get('/:app/activity', route('activity', dt));
app.get('/:app/soapp', route('soapp', dt));
app.get('/:app/soid/:id', route('soid', id));
app.delete('/:app/kill/:token', route('kill', token));
app.delete('/:app/killsoid/:id', route('killsoid', id));
app.delete('/:app/killall', route('killall', nothing));
app.get('/ping', route('ping', nothing));
app.listen(Number(port), '127.0.0.1');
