<?php
/**
 * Tests the life cycle of a session with the PHP client generated from openapi.yaml.
 *
 *     php life.php URL URL_OF_A_SERVICE_WITHOUT_ITS_STORE
 *
 * Environment: CLIENT, the folder of the client.
 */

declare(strict_types=1);
error_reporting(E_ALL);
set_error_handler(fn (int $level, string $message) => throw new ErrorException($message));

use RestSessions\Api\ListsApi;
use RestSessions\Api\ServiceApi;
use RestSessions\Api\SessionsApi;
use RestSessions\ApiException;
use RestSessions\Configuration;
use RestSessions\Model\ErrorBody;
use RestSessions\Model\Session;

// Replaces Composer's autoload.php: loads Debian's Guzzle, and the client by PSR-4.
require 'GuzzleHttp/autoload.php';
spl_autoload_register(function (string $class): void {
    $file = getenv('CLIENT') . '/lib/' . strtr(substr($class, strlen('RestSessions\\')), '\\', '/') . '.php';
    if (str_starts_with($class, 'RestSessions\\') && is_file($file)) {
        require $file;
    }
});

const APP = 'php';
const IP = '203.0.113.7';
const DATA = [
    'name' => "Zoë \"Ada\" O'Neil \\ Łódź\n東京 🦀",
    'empty' => '',
    'cart' => 3,
    'debt' => -7,
    'beyond' => 9007199254740993, // 2^53 + 1, beyond the exact integers of a double
    'largest' => PHP_INT_MAX,
    'ratio' => 0.1,
    'tiny' => 1e-7,
    'yes' => true,
    'no' => false,
];
const IDS = ['a/b', 'a:b', 'a b', '100%', 'a%2Fb', 'a+b', 'Zoë-東京'];

function check(string $name, bool $passed): void
{
    if (!$passed) {
        fail($name);
    }
    echo "$name\n";
}

function fail(string $name): never
{
    fwrite(STDERR, "FAILED: $name\n");
    exit(1);
}

/** Returns the three API objects of a client. */
function connect(string $url): array
{
    $http = new GuzzleHttp\Client(['timeout' => 5]); // seconds; without it, calls have no timeout
    $configuration = (new Configuration())->setHost($url);
    return [
        new SessionsApi($http, $configuration),
        new ListsApi($http, $configuration),
        new ServiceApi($http, $configuration),
    ];
}

/** Returns the error that a call throws, with its body as the generated type. */
function failure(callable $call): ApiException
{
    try {
        $call();
    } catch (ApiException $error) {
        return $error->getResponseObject() instanceof ErrorBody ? $error : fail('an error has a body of its type');
    }
    fail('an error was expected');
}

/** Returns the sorted ids of sessions. */
function ids(array $sessions): array
{
    $ids = array_map(fn (Session $session) => $session->getId(), $sessions);
    sort($ids);
    return $ids;
}

[, $url, $urlWithoutStore] = $argv;
[$sessions, $lists, $service] = connect($url);

check('ping says PONG', $service->ping() === 'PONG');

$token = $sessions->create(APP, 'ann', IP, ttl: 600, data: DATA)->getToken();
check('create returns a token', strlen($token) === 64);

$session = $sessions->get(APP, $token);
check('get returns a session', $session->getId() === 'ann' && $session->getIp() === IP);
$numbers = [$session->getR(), $session->getW(), $session->getTtl()] === [1, 1, 600] && $session->getIdle() < 60;
check('get returns its counters', $numbers);
check('no_resave is absent by default', $session->getNoResave() === null);
$d = $session->getD();
check('all keys are returned', array_keys($d) === array_keys(DATA));
$kinds = [
    'strings' => ['name', 'empty'],
    'integers' => ['cart', 'debt'],
    'large integers' => ['beyond', 'largest'],
    'doubles' => ['ratio', 'tiny'],
    'booleans' => ['yes', 'no'],
];
foreach ($kinds as $kind => $keys) {
    $keys = array_flip($keys);
    check("$kind come back", array_intersect_key($d, $keys) === array_intersect_key(DATA, $keys));
}
check('a get increments r', $sessions->get(APP, $token)->getR() === 2);

$session = $sessions->set(APP, $token, changes: ['cart' => 4, 'theme' => 'dark']);
check('set adds and replaces keys', $session->getD() === [...DATA, 'cart' => 4, 'theme' => 'dark']);
check('a set increments w', $session->getW() === 2);
$d = $sessions->set(APP, $token, changes: ['theme' => null])->getD();
check('null removes a key', !array_key_exists('theme', $d));
$sessions->set(APP, $token, changes: ['a&b=c' => 1, 'é+ %' => 2, 'keep' => 3]);
$d = $sessions->set(APP, $token, unset: ['a&b=c', 'é+ %', 'absent'])->getD();
check('unset removes keys', $d === [...DATA, 'cart' => 4, 'keep' => 3]);
$d = $sessions->set(APP, $token, unset: ['keep'], changes: ['cart' => 5])->getD();
check('unset and changes work together', $d === [...DATA, 'cart' => 5]);

[, $status, $headers] = $sessions->authWithHttpInfo(APP, d: ['name', 'cart'], x_session_token: $token);
$headers = array_change_key_case($headers);
check('auth of a session is a 204', $status === 204);
check('auth returns the id', $headers['x-session-id'] === ['ann']);
$told = [rawurldecode($headers['x-session-data-name'][0]), $headers['x-session-data-cart'][0]];
check('auth returns data', $told === [DATA['name'], '5']);
$before = $sessions->get(APP, $token)->getR();
$sessions->auth(APP, touch: 0, x_session_token: $token);
check('auth with touch 0 does not count', $sessions->get(APP, $token)->getR() === $before + 1);
$error = failure(fn () => $sessions->auth(APP, x_session_token: str_repeat('A', 64)));
$refused = $error->getCode() === 401 && $error->getResponseObject()->getName() === 'unauthorized';
check('auth without a session is a 401', $refused);

$fixed = $sessions->create(APP, 'ann', IP, no_resave: true)->getToken();
$session = $sessions->get(APP, $fixed);
check('no_resave is returned', $session->getNoResave() === true);
check('a session without data has no d', !$session->getD());
$empty = $sessions->create(APP, 'ann', IP, data: [])->getToken();
check('an empty map stores no data', !$sessions->get(APP, $empty)->getD());

$found = $lists->soid(APP, 'ann')->getSessions();
check('soid lists the sessions of an id', ids($found) === ['ann', 'ann', 'ann']);
$data = array_values(array_filter(array_map(fn (Session $session) => $session->getD(), $found)));
check('soid returns their data', $data === [[...DATA, 'cart' => 5]]);
$sessions->create(APP, 'bob', IP);
$found = $lists->soapp(APP, 600)->getSessions();
check('soapp lists the sessions of an app', ids($found) === ['ann', 'ann', 'ann', 'bob']);
check('activity counts ids', $lists->activity(APP, 600)->getActivity() === 2);

foreach (IDS as $user) {
    $tokenOfUser = $sessions->create(APP, $user, IP)->getToken();
    $read = $sessions->get(APP, $tokenOfUser)->getId() === $user;
    $listed = ids($lists->soid(APP, $user)->getSessions()) === [$user];
    check("the id $user round-trips", $read && $listed && $lists->killsoid(APP, $user)->getKill() === 1);
}

check('kill ends a session', $sessions->kill(APP, $token)->getKill() === 1);
check('a second kill finds no session', $sessions->kill(APP, $token)->getKill() === 0);
$session = $sessions->get(APP, $token);
$empty = $session->getId() === null && $session->getR() === null && !$session->getD();
check('get of a killed session is empty', $empty);
check('set of a killed session is empty', $sessions->set(APP, $token, changes: ['cart' => 1])->getId() === null);
check('killsoid ends the sessions of an id', $lists->killsoid(APP, 'ann')->getKill() === 2);
check('killall ends the sessions of an app', $lists->killall(APP)->getKill() === 1);
check('lists are empty after killall', $lists->soapp(APP, 600)->getSessions() === []);

$error = failure(fn () => $sessions->create(APP, "line\nbreak", IP));
check('a bad id is a 400', $error->getCode() === 400 && $error->getResponseObject()->getName() === 'invalidFormat');
check('an error has a message', $error->getResponseObject()->getMessage() === 'Invalid id format');
$error = failure(fn () => $sessions->create(APP, 'ann', IP, data: ['list' => [1]]));
check('a bad value is a 400', $error->getCode() === 400 && $error->getResponseObject()->getName() === 'invalidValue');
$error = failure(fn () => $sessions->create(APP, 'ann', IP, data: ['large' => str_repeat('x', 60000)]));
check('too much data is a 413', $error->getCode() === 413 && $error->getResponseObject()->getName() === 'tooLarge');

[$sessionsWithoutStore] = connect($urlWithoutStore);
$error = failure(fn () => $sessionsWithoutStore->create(APP, 'ann', IP));
$away = $error->getCode() === 503 && $error->getResponseObject()->getName() === 'storeUnavailable';
check('an unreachable store is a 503', $away);
$headers = array_change_key_case($error->getResponseHeaders());
check('a 503 has Retry-After', ctype_digit($headers['retry-after'][0]));
