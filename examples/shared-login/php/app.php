<?php

/** The PHP part of the site, served by php-fpm. SessionClient.php is the file to copy. */

declare(strict_types=1);

ini_set('display_errors', '0'); // errors go to the log, not to visitors

require __DIR__ . '/SessionClient.php';

const PASSWORD = 'demo'; // Demo only: all users share one password. A real site stores a hash of each user's password.
const ROLES = ['reader', 'editor'];

const LOGIN = <<<'HTML'
    <form method="post" action="/php/login">
    <label>Name <input name="name" required maxlength="64" autocomplete="username"></label>
    <label>Role <select name="role"><option>reader<option>editor</select></label>
    <label>Password <input name="password" type="password" required autocomplete="current-password"></label>
    <button>Log in</button>
    <p>This is a demo: any name will do, and the password is <code>demo</code>.</p>
    </form>
    HTML;

function home(SessionClient $sessions): void
{
    [$token, $session] = find($sessions);
    if ($session) {
        // Two concurrent visits may count as one: both read the same number.
        $visits = $session['d']['visits'] ?? 0;
        $session = $sessions->set($token, ['visits' => is_int($visits) ? $visits + 1 : 1]);
    }
    if (!$session) {
        page(200, 'You are not logged in', LOGIN);
        return;
    }
    [$name, $role, $visits] = array_map(fn($key) => escape($session['d'][$key] ?? ''), ['name', 'role', 'visits']);
    page(200, "Hello, $name", <<<HTML
        <p>Your role: <b id="role">$role</b>.
        Your visits to the four parts: <b id="visits">$visits</b>.</p>
        <p><a href="/php/devices">Your devices</a></p>
        <form method="post" action="/php/logout"><button>Log out</button></form>
        HTML);
}

function login(SessionClient $sessions): void
{
    [$name, $role, $password] = array_map(field(...), ['name', 'role', 'password']);
    if ($password !== PASSWORD) {
        page(403, 'Wrong password', LOGIN);
        return;
    }
    if (!preg_match('/\A[\p{L}\p{N}].{0,63}\z/su', $name) || !in_array($role, ROLES, true)) {
        page(400, 'Choose a name that begins with a letter or a digit', LOGIN);
        return;
    }
    try {
        $token = $sessions->create($name, visitorIp(), ['name' => $name, 'role' => $role, 'visits' => 0]);
    } catch (SessionRefused) { // a line break in the name, for example
        page(400, 'Choose another name', LOGIN);
        return;
    }
    // Always a new token, and the old sessions end. Why: an attacker may have planted an old token.
    try {
        array_map($sessions->kill(...), tokens());
    } catch (SessionOutage $outage) {
        try {
            $sessions->kill($token); // the response will not set its cookie
        } catch (SessionOutage) {
        }
        throw $outage;
    }
    setSessionCookie($token);
    redirect();
}

function devices(SessionClient $sessions): void
{
    [, $session] = find($sessions);
    if (!$session) {
        redirect();
        return;
    }
    $rows = '';
    foreach ($sessions->soid($session['id']) as ['ip' => $ip, 'idle' => $idle]) {
        $rows .= '<tr><td>' . escape($ip) . "<td>$idle s<td>" . gmdate('Y-m-d H:i:s', time() - $idle) . ' UTC';
    }
    page(200, 'Your devices', <<<HTML
        <table><tr><th>Address<th>Idle<th>Last use$rows</table>
        <form method="post" action="/php/logout-everywhere"><button>Log out everywhere</button></form>
        <p><a href="/php/">Back</a></p>
        HTML);
}

function logout(SessionClient $sessions): void
{
    array_map($sessions->kill(...), tokens()); // first: if it fails, the visitor keeps the cookie and can try again
    clearSessionCookie();
    redirect();
}

function logoutEverywhere(SessionClient $sessions): void
{
    [, $session] = find($sessions);
    if ($session) {
        $sessions->killsoid($session['id']);
    }
    clearSessionCookie();
    redirect();
}

/**
 * Protects against CSRF. Browsers send Origin with each POST, so this covers the login too, which has no session yet
 * that could hold a CSRF token.
 */
function fromThisSite(): bool
{
    return ($_SERVER['HTTP_ORIGIN'] ?? '') === "{$_SERVER['HTTP_X_FORWARDED_PROTO']}://{$_SERVER['HTTP_HOST']}";
}

function visitorIp(): string
{
    return $_SERVER['HTTP_X_REAL_IP']; // nginx overwrites what the client sent
}

/** Returns a field of the form, or '' if it is not a string: PHP parses `name[]` as an array. */
function field(string $name): string
{
    return is_string($_POST[$name] ?? null) ? $_POST[$name] : '';
}

/** Returns the visitor's token and session, or nulls. The first cookie with a live session counts. */
function find(SessionClient $sessions): array
{
    foreach (tokens() as $token) {
        if ($session = $sessions->get($token)) {
            return [$token, $session];
        }
    }
    return [null, null];
}

/** Returns the first four distinct tokens. Why the raw header: $_COOKIE keeps only one value per name. */
function tokens(): array
{
    $tokens = [];
    foreach (preg_split('/[;,]/', $_SERVER['HTTP_COOKIE'] ?? '') as $pair) {
        [$name, $value] = explode('=', $pair, 2) + [1 => ''];
        if (trim($name, " \t") === 'session') {
            $tokens[] = preg_replace('/\A"(.*)"\z/s', '$1', trim($value, " \t"));
        }
    }
    return array_slice(array_unique(preg_grep('/\A[A-Za-z0-9]{64}\z/', $tokens)), 0, 4);
}

function setSessionCookie(#[SensitiveParameter] string $token): void
{
    // Lax: browsers omit the cookie in POSTs from other sites. No `expires`: the service's ttl ends a session.
    setcookie('session', $token, ['path' => '/', 'httponly' => true, 'secure' => true, 'samesite' => 'Lax']);
}

function clearSessionCookie(): void
{
    setSessionCookie(''); // for an empty value PHP sends an expiry in the past
}

function escape(mixed $text): string
{
    return htmlspecialchars((string) $text, ENT_QUOTES | ENT_SUBSTITUTE | ENT_HTML5);
}

/** $title and $content are HTML. */
function page(int $status, string $title, string $content = ''): void
{
    http_response_code($status);
    header('Content-Type: text/html; charset=utf-8');
    header('Cache-Control: no-store');
    echo <<<HTML
        <!doctype html>
        <html lang="en">
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width">
        <title>PHP</title>
        <link rel="stylesheet" href="/style.css">
        <nav><a href="/python/">Python</a> <b>PHP</b> <a href="/java/">Java</a> <a href="/node/">Node</a></nav>
        <main>
        <h1>$title</h1>
        $content
        </main>

        HTML;
}

function redirect(): void
{
    header('Cache-Control: no-store');
    header('Location: /php/', true, 303);
}

$method = $_SERVER['REQUEST_METHOD'];
$handler = match ($method . ' ' . parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
    'GET /php/' => home(...),
    'GET /php/devices' => devices(...),
    'POST /php/login' => login(...),
    'POST /php/logout' => logout(...),
    'POST /php/logout-everywhere' => logoutEverywhere(...),
    default => null,
};
if (!$handler) {
    page(404, 'No such page');
} elseif ($method === 'POST' && !fromThisSite()) {
    page(403, 'This form was sent from another site');
} else {
    try {
        $handler(new SessionClient(getenv('SESSIONS_URL'), 'site'));
    } catch (SessionOutage $outage) {
        error_log("sessions: {$outage->getMessage()}");
        header('Retry-After: 1');
        page(503, 'Please try again in a moment',
            '<p>The session service does not answer. You have not been logged out.</p>');
    }
}
