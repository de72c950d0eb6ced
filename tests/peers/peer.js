// The npm package redis-sessions, driven over pipes: each input line is {"call":NAME,"with":OPTIONS}, each output line
// {"answer":ANSWER} or {"error":TEXT}, in the same order.
//
//   node peer.js VERSION OPTIONS     3 or 4, and JSON: the options of the library's constructor, optionally with "now"
//
// "now", in seconds since the Unix epoch, starts a mock clock for Date and the library's timer (setInterval). The call
// `advance` moves it. The library itself is unmodified.
'use strict';

const { createInterface } = require('node:readline');
const { mock } = require('node:test');
const { promisify } = require('node:util');

const OPERATIONS = ['create', 'get', 'set', 'activity', 'soapp', 'soid', 'kill', 'killsoid', 'killall'];

// Version 3 takes callbacks and answers {} for a missing session.
function version3(options) {
    const RedisSessions = require('redis-sessions-3');
    const sessions = new RedisSessions(options);
    return Object.fromEntries(OPERATIONS.map(name => [name, promisify(sessions[name])]));
}

// Version 4 returns promises, names dt deltaTime, and answers null for a missing session.
function version4(options) {
    const RedisSessions = require('redis-sessions-4').default;
    const sessions = new RedisSessions(options);
    const call = async (name, { dt, ...rest }) => (await sessions[name](dt ? { ...rest, deltaTime: dt } : rest)) ?? {};
    return Object.fromEntries(OPERATIONS.map(name => [name, options => call(name, options)]));
}

async function main([version, text]) {
    const { now, ...settings } = JSON.parse(text);
    if (now) {
        mock.timers.enable({ apis: ['Date', 'setInterval'], now: now * 1000 });
    }
    const peer = { 3: version3, 4: version4 }[version](settings);
    peer.advance = async ({ seconds }) => {
        mock.timers.tick(seconds * 1000);
        return null;
    };
    for await (const line of createInterface({ input: process.stdin })) {
        const { call, with: options } = JSON.parse(line);
        const answered = peer[call](options).then(answer => ({ answer }), error => ({ error: `${error}` }));
        process.stdout.write(`${JSON.stringify(await answered)}\n`);
    }
    // At the end of the input open Redis connections would keep the process alive.
    process.exit(0);
}

main(process.argv.slice(2));
