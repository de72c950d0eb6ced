<?php

declare(strict_types=1);

/** The service or its store is away or too slow. Answer 503; it does not mean that anyone is logged out. */
final class SessionOutage extends RuntimeException
{
}

/** The service takes no such request. `reason` is its stable name, as in openapi.yaml. */
final class SessionRefused extends RuntimeException
{
    public function __construct(public readonly string $reason, string $message)
    {
        parent::__construct("$reason: $message");
    }
}

/**
 * A client of rest-sessions in one file, to be copied. PHP 8.1 or newer with the extension curl.
 *
 *     $sessions = new SessionClient('http://127.0.0.1:3000', 'shop');
 *     $token = $sessions->create('ann', '203.0.113.7', ['name' => 'Ann']);
 *     $session = $sessions->get($token); // ['id' => 'ann', ..., 'd' => ['name' => 'Ann']], or null: no such session
 *
 * All calls of one request share a connection; a forked process opens its own.
 */
final class SessionClient
{
    private ?CurlHandle $curl = null;
    private int $pid = 0;

    /** $timeout in seconds. Keep it above the service's own, 2 by default, so that the service can explain. */
    public function __construct(
        private readonly string $url,
        private readonly string $app,
        private readonly float $timeout = 5,
    ) {
    }

    /** Creates a session and returns its token, a secret for the visitor's cookie. $ttl in seconds. */
    public function create(string $id, string $ip, array $data = [], ?int $ttl = null): string
    {
        // By name, because arg_separator.output may be anything. It leaves out what is null.
        $query = http_build_query(['ip' => $ip, 'ttl' => $ttl], '', '&');
        return $this->ask('PUT', 'create/' . self::segment($id) . "?$query", $data)['token'];
    }

    /** The session, or null. Its data is in `d`, which is always there. */
    public function get(#[SensitiveParameter] ?string $token): ?array
    {
        return self::isToken($token) ? self::session($this->ask('GET', "get/$token")) : null;
    }

    /** Adds and replaces keys of `d`; null removes one. Returns the session after that, or null. */
    public function set(#[SensitiveParameter] ?string $token, array $changes): ?array
    {
        return self::isToken($token) ? self::session($this->ask('POST', "set/$token", $changes)) : null;
    }

    /** Ends the session. Returns whether there was one. */
    public function kill(#[SensitiveParameter] ?string $token): bool
    {
        return self::isToken($token) && $this->ask('DELETE', "kill/$token")['kill'] === 1;
    }

    /** All sessions of an id, the last active first. */
    public function soid(string $id): array
    {
        return array_map(self::session(...), $this->ask('GET', 'soid/' . self::segment($id))['sessions']);
    }

    /** Ends all sessions of an id. Returns how many there were. */
    public function killsoid(string $id): int
    {
        return $this->ask('DELETE', 'killsoid/' . self::segment($id))['kill'];
    }

    /** A cookie is the visitor's text. What is not of a token's form names no session, and never enters a path. */
    private static function isToken(#[SensitiveParameter] ?string $text): bool
    {
        return preg_match('/\A[A-Za-z0-9]{64}\z/', $text ?? '') === 1;
    }

    /** An id as a part of a path. Proxies would take `.` and `..` for steps within it. */
    private static function segment(string $id): string
    {
        return in_array($id, ['.', '..'], true) ? str_replace('.', '%2E', $id) : rawurlencode($id);
    }

    private static function session(array $answer): ?array
    {
        return $answer === [] ? null : $answer + ['d' => []];
    }

    private function ask(string $method, #[SensitiveParameter] string $path, ?array $body = null): array
    {
        [$status, $text] = $this->exchange($method, "$this->url/$this->app/$path", $body);
        $answer = json_decode($text, true);
        if (!is_array($answer)) {
            throw new SessionOutage("status $status without JSON");
        }
        if ($status === 200) {
            return $answer;
        }
        $reason = $answer['name'] ?? '';
        throw $status >= 500
            ? new SessionOutage("status $status, $reason")
            : new SessionRefused($reason, $answer['message'] ?? '');
    }

    /** @return array{int, string} status and body */
    private function exchange(string $method, #[SensitiveParameter] string $url, ?array $body): array
    {
        if ($this->pid !== getmypid()) {
            $this->curl = curl_init(); // a connection of the parent process would give its answers to both
            $this->pid = getmypid();
        }
        curl_reset($this->curl); // the options of the last call; the connection stays
        curl_setopt_array($this->curl, [
            CURLOPT_URL => $url,
            CURLOPT_CUSTOMREQUEST => $method,
            CURLOPT_RETURNTRANSFER => true,
            // curl repeats a request whose old connection is dead. A create or a set must not happen twice.
            CURLOPT_FRESH_CONNECT => $method === 'PUT' || $method === 'POST',
            CURLOPT_TIMEOUT_MS => (int) ($this->timeout * 1000),
            CURLOPT_NOSIGNAL => true, // without it, no timeout below a second
            CURLOPT_PATH_AS_IS => true, // an id may be `..`
            CURLOPT_PROXY => '', // whatever the environment says
        ]);
        if ($body !== null) {
            curl_setopt($this->curl, CURLOPT_POSTFIELDS, self::object($body));
            curl_setopt($this->curl, CURLOPT_HTTPHEADER, ['Content-Type: application/json']);
        }
        $text = curl_exec($this->curl);
        if ($text === false) {
            throw new SessionOutage(curl_error($this->curl));
        }
        return [curl_getinfo($this->curl, CURLINFO_RESPONSE_CODE), $text];
    }

    /** A JSON object. PHP makes a list of the keys 0, 1, ..., and drops an object's keys that begin with NUL. */
    private static function object(array $map): string
    {
        $members = [];
        foreach ($map as $key => $value) {
            $members[] = json_encode((string) $key, JSON_THROW_ON_ERROR) . ':'
                . json_encode($value, JSON_THROW_ON_ERROR | JSON_PRESERVE_ZERO_FRACTION);
        }
        return '{' . implode(',', $members) . '}';
    }
}
