<?php

declare(strict_types=1);

/** The service or its store is unreachable or too slow. Respond with 503; the sessions still exist. */
final class SessionOutage extends RuntimeException
{
}

/** The service rejected the request. `reason` is the stable name of the error, as in openapi.yaml. */
final class SessionRefused extends RuntimeException
{
    public function __construct(public readonly string $reason, string $message)
    {
        parent::__construct("$reason: $message");
    }
}

/**
 * A client for rest-sessions in one file that you can copy. PHP 8.1 or newer with the extension curl.
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

    /** $timeout in seconds. Keep it above the service's own timeout, 2 by default, to get its error response. */
    public function __construct(
        private readonly string $url,
        private readonly string $app,
        private readonly float $timeout = 5,
    ) {
    }

    /** Creates a session and returns its token, a secret for the visitor's cookie. $ttl in seconds. */
    public function create(string $id, string $ip, array $data = [], ?int $ttl = null): string
    {
        // Explicit separator, because arg_separator.output may have changed. Null values are omitted.
        $query = http_build_query(['ip' => $ip, 'ttl' => $ttl], '', '&');
        return $this->ask('PUT', 'create/' . self::segment($id) . "?$query", $data)['token'];
    }

    /** Returns the session, or null. It always has `d`, its data. */
    public function get(#[SensitiveParameter] ?string $token): ?array
    {
        return self::isToken($token) ? self::session($this->ask('GET', "get/$token")) : null;
    }

    /** Adds and replaces keys of `d`; null removes a key. Returns the changed session, or null. */
    public function set(#[SensitiveParameter] ?string $token, array $changes): ?array
    {
        return self::isToken($token) ? self::session($this->ask('POST', "set/$token", $changes)) : null;
    }

    /** Ends the session. Returns whether there was one. */
    public function kill(#[SensitiveParameter] ?string $token): bool
    {
        return self::isToken($token) && $this->ask('DELETE', "kill/$token")['kill'] === 1;
    }

    /** Returns all sessions of an id, the most recently used first. */
    public function soid(string $id): array
    {
        return array_map(self::session(...), $this->ask('GET', 'soid/' . self::segment($id))['sessions']);
    }

    /** Ends all sessions of an id. Returns how many there were. */
    public function killsoid(string $id): int
    {
        return $this->ask('DELETE', 'killsoid/' . self::segment($id))['kill'];
    }

    /** Whether a text has the form of a token. Why: a cookie is untrusted input and must not get into a path. */
    private static function isToken(#[SensitiveParameter] ?string $text): bool
    {
        return preg_match('/\A[A-Za-z0-9]{64}\z/', $text ?? '') === 1;
    }

    /** Encodes an id as a path segment. Escapes `.` and `..`, which proxies would resolve. */
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
            $this->curl = curl_init(); // two processes on one connection would mix up their responses
            $this->pid = getmypid();
        }
        curl_reset($this->curl); // resets the options of the last call; keeps the connection
        curl_setopt_array($this->curl, [
            CURLOPT_URL => $url,
            CURLOPT_CUSTOMREQUEST => $method,
            CURLOPT_RETURNTRANSFER => true,
            // curl repeats a request if a reused connection is dead. A create or set must not happen twice.
            CURLOPT_FRESH_CONNECT => $method === 'PUT' || $method === 'POST',
            CURLOPT_TIMEOUT_MS => (int) ($this->timeout * 1000),
            CURLOPT_NOSIGNAL => true, // otherwise timeouts below one second fail
            CURLOPT_PATH_AS_IS => true, // an id may be `..`
            CURLOPT_PROXY => '', // ignores proxies in the environment
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

    /** Encodes a JSON object. Why by hand: PHP encodes keys 0, 1, ... as a list and drops keys that begin with NUL. */
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
