<?php

declare(strict_types=1);

/**
 * Keeps PHP's sessions in rest-sessions. Copy this file; README.md beside it shows its use.
 *
 * A session has a token once it is first saved. Until then PHP knows it by a name that nobody else ever sees, so this
 * class, not PHP, reads and sends the cookie.
 */
final class RestSessionHandler implements
    SessionHandlerInterface,
    SessionIdInterface,
    SessionUpdateTimestampHandlerInterface
{
    private const TOKEN = '/^[A-Za-z0-9]{64}$/D';
    private const NESTED = 'json:'; // what the key of a nested value begins with; the value is then JSON text
    private const USER_KEYS = ['user_id', '_user_id', '_auth_user_id']; // ours, Flask-Login's, Django's
    private const ANONYMOUS = 'anonymous';

    private static ?self $current = null;

    private string $url;
    /** @var array<string, ?string> the tokens of the ids that PHP knows; null for an id that has none */
    private array $tokens = [];
    /** @var array<string, array> what the service has of them */
    private array $stored = [];

    /** In the place of session_start(), with its options, and with `url` and `app` of the service. */
    public static function start(array $options = []): bool
    {
        $again = self::$current !== null;
        self::$current ??= new self($options['url'] ?? null, $options['app'] ?? null);
        unset($options['url'], $options['app']);
        if (!$again) {
            session_name($options['name'] ?? 'session');
            $token = $_COOKIE[session_name()] ?? null;
            if (is_string($token) && preg_match(self::TOKEN, $token)) {
                session_id($token);
            }
            session_set_save_handler(self::$current, true);
            ob_start(); // the answer waits until the session is saved: it may need a cookie, or be an error
        }
        return session_start([
            'use_cookies' => 0,
            'use_strict_mode' => 1,
            'serialize_handler' => 'php_serialize',
        ] + $options + ['cookie_secure' => 1, 'cookie_httponly' => 1, 'cookie_samesite' => 'Lax']);
    }

    /** Ends every session of a user, and answers how many there were. */
    public static function logoutEverywhere(string|int $user): int
    {
        $handler = self::$current ?? new self();
        return $handler->ask('DELETE', 'killsoid/' . rawurlencode((string) $user))['kill'];
    }

    public function __construct(?string $url = null, ?string $app = null)
    {
        $url ??= getenv('REST_SESSIONS_URL') ?: 'http://127.0.0.1:3000';
        $app ??= getenv('REST_SESSIONS_APP')
            ?: throw new RestSessionException('name the app, as an option or in REST_SESSIONS_APP', 500);
        $this->url = rtrim($url, '/') . "/$app/";
    }

    public function open(string $path, string $name): bool
    {
        return true;
    }

    public function close(): bool
    {
        return true;
    }

    public function gc(int $max_lifetime): int|false
    {
        return 0; // the service removes what has expired
    }

    public function create_sid(): string
    {
        return bin2hex(random_bytes(16));
    }

    public function validateId(#[\SensitiveParameter] string $id): bool
    {
        return $this->guard(fn() => $this->load($id));
    }

    public function read(#[\SensitiveParameter] string $id): string
    {
        if (!isset($this->stored[$id])) {
            $this->guard(fn() => $this->load($id));
        }
        return $this->stored[$id] ? serialize(self::decode($this->stored[$id])) : '';
    }

    public function write(#[\SensitiveParameter] string $id, #[\SensitiveParameter] string $data): bool
    {
        $this->guard(fn() => $this->save($id, $data === '' ? [] : unserialize($data, ['allowed_classes' => false])));
        return true;
    }

    /** Nothing has changed, and the read has renewed the session. */
    public function updateTimestamp(
        #[\SensitiveParameter] string $id,
        #[\SensitiveParameter] string $data,
    ): bool {
        return true;
    }

    public function destroy(#[\SensitiveParameter] string $id): bool
    {
        $token = $this->token($id);
        if ($token !== null) {
            $this->guard(fn() => $this->ask('DELETE', "kill/$token"));
        }
        $this->tokens[$id] = null;
        unset($this->stored[$id]);
        return true;
    }

    private function token(#[\SensitiveParameter] string $id): ?string
    {
        return array_key_exists($id, $this->tokens)
            ? $this->tokens[$id]
            : (preg_match(self::TOKEN, $id) ? $id : null);
    }

    /** Reads a session, and says whether there is one. */
    private function load(#[\SensitiveParameter] string $id): bool
    {
        $token = $this->token($id);
        $session = $token === null ? [] : $this->ask('GET', "get/$token");
        $this->tokens[$id] = $session ? $token : null;
        $this->stored[$id] = self::encode(self::decode($session['d'] ?? []));
        return $session !== [];
    }

    /** Sends the keys that have changed. A session that is new, or whose user has changed, gets a new token. */
    private function save(#[\SensitiveParameter] string $id, #[\SensitiveParameter] array $session): void
    {
        $token = $this->token($id);
        $before = $this->stored[$id] ?? [];
        $after = self::encode($session);
        $changes = self::changes($before, $after);
        if (!$changes) {
            return;
        }
        if ($token !== null && self::user($before) === self::user($after)) {
            if (!$this->ask('POST', "set/$token", $changes)) {
                throw new RestSessionException('the session has ended while this request was served', 409);
            }
        } else {
            if (headers_sent()) {
                throw new RestSessionException('the answer began before the session was saved', 500);
            }
            $this->tokens[$id] = $this->create($after);
            if ($token !== null) {
                $this->ask('DELETE', "kill/$token");
            }
            $this->sendCookie($this->tokens[$id]);
        }
        $this->stored[$id] = $after;
    }

    private function create(#[\SensitiveParameter] array $d): string
    {
        $query = http_build_query([
            'ip' => $_SERVER['REMOTE_ADDR'] ?? '0.0.0.0',
            'ttl' => min(max((int) ini_get('session.gc_maxlifetime'), 10), 2147483647),
        ]);
        return $this->ask('PUT', 'create/' . rawurlencode(self::user($d)) . "?$query", $d)['token'];
    }

    private function sendCookie(#[\SensitiveParameter] string $token): void
    {
        $options = session_get_cookie_params();
        $options['expires'] = $options['lifetime'] ? time() + $options['lifetime'] : 0;
        unset($options['lifetime']);
        setcookie(session_name(), $token, $options);
    }

    /** Asks the service. PHP's own warnings would name the URL, which holds a token; the exceptions here do not. */
    private function ask(
        string $method,
        #[\SensitiveParameter] string $path,
        #[\SensitiveParameter] ?array $d = null,
    ): array {
        $context = stream_context_create(['http' => [
            'method' => $method,
            'header' => 'Content-Type: application/json',
            'content' => $d === null ? '' : self::json((object) $d),
            'timeout' => 5,
            'follow_location' => 0,
            'ignore_errors' => true, // an error has a body, too
        ]]);
        set_error_handler(fn() => true);
        try {
            $stream = fopen($this->url . $path, 'r', false, $context);
            $body = $stream ? stream_get_contents($stream) : false;
            $meta = $stream ? stream_get_meta_data($stream) : [];
        } finally {
            restore_error_handler();
        }
        if ($body === false || $meta['timed_out']) {
            throw new RestSessionException('no answer', 503);
        }
        $status = (int) explode(' ', $meta['wrapper_data'][0])[1];
        if ($status !== 200) {
            throw new RestSessionException("$status " . substr($body, 0, 200), $status === 503 ? 503 : 500);
        }
        return self::parse($body);
    }

    /** Makes the answer an error if something fails, also after the app has written it. */
    private function guard(callable $work): mixed
    {
        try {
            return $work();
        } catch (Throwable $error) {
            if (!headers_sent()) {
                while (ob_get_level() > 0 && ob_end_clean());
                http_response_code($error instanceof RestSessionException ? $error->getCode() : 500);
            }
            throw $error;
        }
    }

    /** `d` for a session: strings, numbers and booleans as they are, other values as JSON text under `json:KEY`. */
    private static function encode(#[\SensitiveParameter] array $session): array
    {
        $d = [];
        foreach ($session as $key => $value) {
            if (is_scalar($value) && !str_starts_with((string) $key, self::NESTED)) {
                $d[$key] = $value;
                continue;
            }
            $check = ['value' => $value];
            array_walk_recursive($check, fn($leaf) => !is_object($leaf) && !is_resource($leaf)
                || throw new RestSessionException("\$_SESSION['$key'] holds an object, which JSON cannot hold", 500));
            $d[self::NESTED . $key] = self::json($value);
        }
        return $d;
    }

    /** The session for a `d`. A plain value wins over a nested one of the same name. */
    private static function decode(#[\SensitiveParameter] array $d): array
    {
        $nested = fn($key) => str_starts_with((string) $key, self::NESTED);
        $session = array_filter($d, fn($key) => !$nested($key), ARRAY_FILTER_USE_KEY);
        foreach (array_filter($d, $nested, ARRAY_FILTER_USE_KEY) as $key => $text) {
            $session += [substr($key, strlen(self::NESTED)) => self::parse($text)];
        }
        return $session;
    }

    /** What makes $after of $before. Each key goes with its other form, so that no two requests can leave both. */
    private static function changes(#[\SensitiveParameter] array $before, #[\SensitiveParameter] array $after): array
    {
        $changes = [];
        foreach ($before + $after as $key => $_) {
            if (($before[$key] ?? null) === ($after[$key] ?? null)) {
                continue;
            }
            $key = (string) $key;
            $name = str_starts_with($key, self::NESTED) ? substr($key, strlen(self::NESTED)) : $key;
            $forms = str_starts_with($name, self::NESTED) ? [$key] : [$name, self::NESTED . $name];
            foreach ($forms as $form) {
                $changes[$form] = $after[$form] ?? null;
            }
        }
        return $changes;
    }

    private static function user(#[\SensitiveParameter] array $d): string
    {
        foreach (self::USER_KEYS as $key) {
            if (isset($d[$key]) && (is_int($d[$key]) || is_string($d[$key]) && $d[$key] !== '')) {
                return (string) $d[$key];
            }
        }
        return self::ANONYMOUS;
    }

    private static function json(#[\SensitiveParameter] mixed $value): string
    {
        $flags = JSON_THROW_ON_ERROR | JSON_PRESERVE_ZERO_FRACTION | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES;
        return json_encode($value, $flags);
    }

    private static function parse(#[\SensitiveParameter] string $text): mixed
    {
        // An integer beyond 64 bits keeps its digits, as a string.
        return json_decode($text, true, 512, JSON_THROW_ON_ERROR | JSON_BIGINT_AS_STRING);
    }
}

/** There was no answer, or an error. The code is the HTTP status for the visitor; no message holds a token. */
final class RestSessionException extends RuntimeException
{
    public function __construct(string $message, int $status)
    {
        parent::__construct("rest-sessions: $message", $status);
    }
}
