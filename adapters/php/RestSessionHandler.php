<?php

declare(strict_types=1);

/**
 * Stores PHP's sessions in rest-sessions. Copy this file; README.md beside it shows its use.
 *
 * The service creates the tokens, so a new session has none before its first save. Until then PHP uses an internal id
 * that never leaves the process. Therefore this class, not PHP, reads and sends the cookie.
 *
 * The class buffers output while a session is open, because the save may add a cookie or replace the response by an
 * error.
 */
final class RestSessionHandler implements
    SessionHandlerInterface,
    SessionIdInterface,
    SessionUpdateTimestampHandlerInterface
{
    private const TOKEN = '/\A[A-Za-z0-9]{64}\z/';
    private const NESTED = 'json:'; // key prefix of nested values, which are stored as JSON text
    private const LEVELS = 100; // levels of nesting that a value may have: every language reads this many
    private const USER_KEYS = ['user_id', '_user_id', '_auth_user_id']; // ours, Flask-Login's, Django's
    private const ANONYMOUS = 'anonymous';
    private const COOKIES = 4; // at most this many tokens from cookies are looked up
    /** SAPIs that send no response headers. One process may serve several visitors in sequence. */
    private const NO_COOKIES = ['cli', 'phpdbg', 'embed', 'micro'];

    private static ?self $current = null;
    /** @var array<string, self> for logoutEverywhere() without start() */
    private static array $unstarted = [];
    private static string $left = ''; // the id that the previous session left in session_id()
    private static bool $registered = false;
    private static bool $configured = false; // whether configure() has changed PHP's settings

    private RestSessionConnection $service;
    private string $app;
    private string $name = 'session';
    /**
     * The sessions by PHP's id, each an array with these keys. `token`: null if the service has no such session. `raw`:
     * the entries of `d` by the name that the app uses, each [key, JSON text]. `seen`: the subset of `raw` that the app
     * can read. `values`: the values of those. `replaces`: tokens to kill once the session is saved. `from`: the token
     * of the session that this one was copied from.
     *
     * @var array<array-key, array>
     */
    private array $known = [];
    /** @var array<array-key, string> tokens by PHP's ids, of earlier sessions of this request */
    private array $ids = [];
    private ?string $loaded = null; // the id that load() read last
    private ?string $open = null; // the id of the open session
    private ?array $leaving = null; // the old session's record while session_regenerate_id() runs
    private array $openedBy = []; // the process, fiber and coroutine that opened the session
    private int $level = 0; // nesting level of our output buffer; 0 if there is none
    private string $held = ''; // output that PHP's buffer has already handed to us
    private bool $passThrough = false; // whether output passes the buffer without delay
    private bool $ending = false; // whether this class is flushing or discarding the buffer
    private ?Throwable $failed = null; // error of a save in an output callback, which cannot throw

    /** Replaces session_start(). Takes the same options, and `url` and `app` for the service. */
    public static function start(array $options = []): bool
    {
        try {
            if (session_status() === PHP_SESSION_ACTIVE) {
                return self::resume();
            }
            $handler = new self($options['url'] ?? null, $options['app'] ?? null);
            unset($options['url'], $options['app']);
            if (headers_sent()) {
                return self::reopen($options);
            }
            $handler->configure($options);
        } catch (RestSessionException $error) {
            if (!headers_sent()) {
                http_response_code($error->getCode());
            }
            throw $error;
        }
        $id = $handler->guard(fn() => $handler->choose());
        self::$current = $handler;
        session_set_save_handler($handler, false);
        session_id($id);
        self::register();
        return session_start(array_intersect_key($options, ['read_and_close' => true]));
    }

    /** Ends every session of a user and returns how many there were. */
    public static function logoutEverywhere(string|int $user): int
    {
        self::checkUser((string) $user);
        $place = getenv('REST_SESSIONS_URL') . ' ' . getenv('REST_SESSIONS_APP');
        $handler = self::$current;
        if ($handler === null) {
            $handler = self::$unstarted[$place] ?? new self();
            self::$unstarted = [$place => $handler]; // reuses the connection for the next call
        }
        return (int) ($handler->ask('DELETE', 'killsoid/' . self::segment((string) $user))['kill'] ?? 0);
    }

    public function __construct(?string $url = null, ?string $app = null)
    {
        $app ??= getenv('REST_SESSIONS_APP') ?: null;
        if ($app === null) {
            throw self::error('set the option `app` or the environment variable REST_SESSIONS_APP', 500);
        }
        if (!preg_match('/\A[A-Za-z0-9_-]{3,20}\z/', $app)) {
            throw self::error('the option `app` must be 3 to 20 characters of A-Z, a-z, 0-9, _ and -', 500);
        }
        $this->app = $app;
        $this->service = new RestSessionConnection($url ?? (getenv('REST_SESSIONS_URL') ?: 'http://127.0.0.1:3000'));
    }

    /** Handles start() while a session is active: fails unless the session belongs to this request. */
    private static function resume(): bool
    {
        $own = self::$current;
        if ($own === null || $own->open === null) {
            session_abort(); // Why: the app's further changes must not go to another store.
            throw self::error('a session is already active: switch session.auto_start off, and call start() '
                . 'instead of session_start()', 500);
        }
        // Why: in a process that serves several visitors in sequence, this session may be another visitor's.
        if ($own->openedBy !== self::executionContext() || in_array(PHP_SAPI, self::NO_COOKIES, true)) {
            throw self::error('the session of another request is still open in this process: close it with '
                . 'session_write_close() first', 500);
        }
        return session_start(); // PHP's own notice, and true
    }

    /** Handles start() after the response has started: only a session that this request had open can be reopened. */
    private static function reopen(array $options): bool
    {
        if (self::$current === null || in_array(PHP_SAPI, self::NO_COOKIES, true)) {
            throw self::error('the response has started: call start() before any output', 500);
        }
        return session_start(array_intersect_key($options, ['read_and_close' => true]));
    }

    /**
     * Saves after the app's own shutdown functions, as PHP does with its own sessions. A function that is registered
     * during the shutdown runs last.
     */
    private static function register(): void
    {
        if (!self::$registered || PHP_SAPI === 'frankenphp') { // FrankenPHP drops it after each request
            register_shutdown_function(static function (): void {
                register_shutdown_function(static fn() => session_write_close());
            });
            self::$registered = true;
        }
    }

    /** Sets PHP's session options. Throws for those that this handler cannot honour. */
    private function configure(array $options): void
    {
        $wanted = [
            'use_cookies' => true,
            'use_only_cookies' => true,
            'use_trans_sid' => false,
            'use_strict_mode' => true,
            'auto_start' => false,
            'upload_progress.enabled' => false,
        ];
        foreach ($options as $key => $value) {
            $possible = match (true) {
                array_key_exists($key, $wanted) => $wanted[$key] === filter_var($value, FILTER_VALIDATE_BOOLEAN),
                $key === 'serialize_handler' => $value === 'php_serialize',
                default => $key !== 'save_handler' && $key !== 'save_path',
            };
            if (!$possible || $key !== 'read_and_close' && ini_get("session.$key") === false) {
                throw self::error("the option `$key` cannot be honoured", 500);
            }
        }
        if (!self::$configured && !self::isOn('use_cookies')) {
            throw self::error('session.use_cookies must be on: the token is sent only in a cookie', 500);
        }
        // PHP writes upload progress to its own store before the script runs.
        $progress = ini_get('session.upload_progress.name');
        if ($_FILES && isset($_POST[$progress]) && self::isOn('upload_progress.enabled')) {
            throw self::error('session.upload_progress cannot be honoured: set session.upload_progress.enabled=0', 500);
        }

        $this->name = (string) ($options['name'] ?? (session_name() === 'PHPSESSID' ? 'session' : session_name()));
        foreach (['name', 'read_and_close', 'auto_start', 'upload_progress.enabled'] as $key) {
            unset($options[$key]);
        }
        if (!preg_match('/\A[!#$%&\'*+\-.^_`|~0-9A-Za-z]{1,256}\z/', $this->name) || is_numeric($this->name)) {
            throw self::error('the option `name` is not a cookie name that PHP can send', 500);
        }
        $defaults = [];
        foreach (['cookie_secure' => '1', 'cookie_httponly' => '1', 'cookie_samesite' => 'Lax'] as $key => $value) {
            // Values from php.ini and session_set_cookie_params() win over ours, unless they are PHP's empty defaults.
            if (in_array((string) ini_get("session.$key"), ['', '0'], true)) {
                $defaults[$key] = $value;
            }
        }
        $forced = ['use_cookies' => '0', 'use_only_cookies' => '1', 'use_trans_sid' => '0', 'use_strict_mode' => '1'];
        $forced['serialize_handler'] = 'php_serialize';
        $refused = '';
        self::$configured = true;
        self::quietly(function () use ($forced, $options, $defaults, &$refused): void {
            try {
                session_name($this->name);
                foreach ($forced + $options + $defaults as $key => $value) {
                    if (ini_set("session.$key", is_bool($value) ? (string) (int) $value : (string) $value) === false) {
                        $refused = $key;
                    }
                }
            } catch (Error $error) { // newer PHP versions throw while session.upload_progress.enabled is on
                throw self::error("PHP rejected the settings: {$error->getMessage()}", 500);
            }
        });
        if (session_name() !== $this->name) {
            $refused = 'name';
        }
        if ($refused !== '') {
            throw self::error("PHP rejected the option `$refused`", 500);
        }
        $this->checkCookie();
        $ttl = (int) ini_get('session.gc_maxlifetime');
        if ($ttl < 10 || $ttl > 2147483647) {
            throw self::error('session.gc_maxlifetime must be 10 to 2147483647 seconds', 500);
        }
    }

    /** Throws if PHP cannot send the cookie or browsers reject it: each request would leave an orphaned session. */
    private function checkCookie(): void
    {
        $cookie = session_get_cookie_params();
        $secure = $cookie['secure'];
        $host = stripos($this->name, '__Host-') === 0;
        $odd = '/[,; \t\r\n\v\f\0]/';
        $bad = [
            'cookie_secure' => !$secure && ($host || stripos($this->name, '__Secure-') === 0
                || strcasecmp($cookie['samesite'], 'None') === 0 || ($cookie['partitioned'] ?? false)),
            'cookie_path' => preg_match($odd, $cookie['path']) || $host && $cookie['path'] !== '/',
            'cookie_domain' => preg_match($odd, $cookie['domain']) || $host && $cookie['domain'] !== '',
            'cookie_samesite' => !in_array(strtolower($cookie['samesite']), ['', 'lax', 'strict', 'none'], true),
        ];
        foreach (array_filter($bad) as $key => $_) {
            throw self::error("the option `$key` makes browsers reject the cookie", 500);
        }
    }

    /** Returns the token of this request's live session, or '' if there is none. */
    private function choose(): string
    {
        $id = session_id();
        // An id that the app has set counts. The id that the previous session left may belong to another visitor.
        $set = $id !== '' && $id !== self::$left;
        // Remembers this request's internal ids, in case the app sets one again. Only for tokens in the cookies.
        foreach (self::$current === null ? [] : self::$current->known as $old => $known) {
            self::$current->ids[$old] = $known['token'];
        }
        $this->ids = array_intersect(self::$current->ids ?? [], $this->tokens());
        $id = $this->ids[$id] ?? $id;
        foreach ($set ? preg_grep(self::TOKEN, [$id]) : $this->tokens() as $token) {
            if ($this->load($token)) {
                if ($set && !in_array($token, $this->tokens(), true)) {
                    $this->sendCookie($token);
                }
                return $token;
            }
        }
        return '';
    }

    /**
     * Returns the visitor's tokens: from the cookie that the response sets, then from the request's cookies.
     *
     * Why the raw header: $_COOKIE renames keys and keeps one value per name. Servers join several header lines with a
     * comma.
     */
    private function tokens(): array
    {
        $tokens = [];
        foreach ($this->cookieLines() as $line) {
            $tokens = [self::cookieValue($line)];
        }
        if (is_string($_SERVER['HTTP_COOKIE'] ?? null)) {
            foreach (preg_split('/[;,]/', $_SERVER['HTTP_COOKIE']) as $pair) {
                [$name, $value] = explode('=', $pair, 2) + [1 => ''];
                if (trim($name, " \t") === $this->name) {
                    $value = trim($value, " \t");
                    $tokens[] = preg_match('/\A"(.*)"\z/s', $value, $inner) ? $inner[1] : $value;
                }
            }
        } elseif (is_string($_COOKIE[$this->name] ?? null)) {
            $tokens[] = $_COOKIE[$this->name];
        }
        return array_slice(array_values(array_unique(preg_grep(self::TOKEN, $tokens))), 0, self::COOKIES);
    }

    public function open(string $path, string $name): bool
    {
        return $this->guard(function (): bool {
            if ($this !== self::$current || ini_get('session.use_cookies') || ini_get('session.use_trans_sid')
                || !ini_get('session.use_only_cookies') || ini_get('session.serialize_handler') !== 'php_serialize') {
                throw self::error('call RestSessionHandler::start(), and do not change its settings', 500);
            }
            if ($this->level === 0 && !headers_sent()) {
                ob_start(fn(string $output, int $phase): string => $this->output($output, $phase), self::chunkSize());
                $this->level = ob_get_level();
            }
            $this->passThrough = headers_sent();
            return true;
        });
    }

    public function close(): bool
    {
        if (!self::regenerating()) {
            $this->open = null;
            $this->guard(fn() => $this->killReplaced()); // left by session_abort()
            $this->release();
        }
        return true;
    }

    public function gc(int $max_lifetime): int|false
    {
        return 0; // the service removes expired sessions
    }

    public function create_sid(): string
    {
        return bin2hex(random_bytes(16));
    }

    public function validateId(#[\SensitiveParameter] string $id): bool
    {
        if ($this->loaded === $id) {
            return true;
        }
        if (isset($this->known[$id]) && $this->known[$id]['token'] === null) {
            return true;
        }
        return $this->token($id) !== null && $this->guard(fn() => $this->isOurs($id) && $this->load($id));
    }

    public function read(#[\SensitiveParameter] string $id): string
    {
        if ($this->leaving !== null) {
            $this->known[$id] = $this->leaving; // the same session under a new id
        } elseif ($this->loaded !== $id) {
            $this->guard(fn() => $this->isOurs($id) ? $this->load($id) : $this->forget($id));
        }
        $this->loaded = $this->leaving = null;
        $this->open = self::$left = $id;
        $this->openedBy = self::executionContext();
        $values = $this->known[$id]['values'];
        return $values ? self::precisely(fn() => serialize($values)) : '';
    }

    public function write(#[\SensitiveParameter] string $id, #[\SensitiveParameter] string $data): bool
    {
        $regenerating = self::regenerating();
        $this->open = null;
        $this->guard(function () use ($id, $data, $regenerating): void {
            if ($this->failed !== null) {
                throw $this->failed;
            }
            // Prefers $_SESSION to $data. Why: serialize() rounds floats to the app's serialize_precision.
            $session = isset($_SESSION) && is_array($_SESSION) ? $_SESSION
                : ($data === '' ? [] : unserialize($data, ['allowed_classes' => false]));
            if ($regenerating) {
                $this->leave($id, $session);
            } else {
                $this->save($id, $session);
            }
        }, true);
        return true;
    }

    /** Does nothing: PHP calls it for an unchanged session, and the read has already renewed that. */
    public function updateTimestamp(
        #[\SensitiveParameter] string $id,
        #[\SensitiveParameter] string $data,
    ): bool {
        return $this->guard(fn() => $this->failed === null ? true : throw $this->failed, true);
    }

    public function destroy(#[\SensitiveParameter] string $id): bool
    {
        $known = $this->known[$id] ?? self::record();
        $tokens = array_filter([...$known['replaces'], $known['token']]);
        if (self::regenerating()) {
            // Killed once the new session is stored, so that a failure in between does not log the visitor out.
            $this->leaving = ['token' => null, 'replaces' => $tokens] + $known;
        } else {
            $this->open = null;
            $this->guard(function () use ($tokens): void {
                foreach ($tokens as $token) {
                    $this->kill($token);
                }
            }, true);
            $this->dropCookie($tokens);
        }
        unset($this->known[$id]);
        return true;
    }

    /** Handles session_regenerate_id(false): the old session stays, with the changes so far. */
    private function leave(#[\SensitiveParameter] string $id, #[\SensitiveParameter] array $session): void
    {
        $known = $this->known[$id];
        $user = self::user(self::encode($session));
        if ($known['token'] !== null && self::user($known['seen']) === $user) {
            $this->save($id, $session);
            $known = $this->known[$id];
        }
        $this->leaving = ['token' => null, 'from' => $known['token'] ?? $known['from']] + $known;
        $this->known[$id]['replaces'] = [];
    }

    /** Whether this request may open an id. The id that the previous session left needs a cookie with its token. */
    private function isOurs(#[\SensitiveParameter] string $id): bool
    {
        $token = $this->token($id);
        return $token === null || $id !== self::$left || in_array($token, $this->tokens(), true);
    }

    private function token(#[\SensitiveParameter] string $id): ?string
    {
        return isset($this->known[$id]) ? $this->known[$id]['token']
            : $this->ids[$id] ?? (preg_match(self::TOKEN, $id) ? $id : null);
    }

    /** Reads a session. Returns whether it exists. */
    private function load(#[\SensitiveParameter] string $id): bool
    {
        $token = $this->token($id);
        [$d, $found] = $token === null ? [null, false] : $this->get($token);
        $record = self::record($d, $found ? $token : null);
        $record['replaces'] = $this->known[$id]['replaces'] ?? [];
        $this->known[$id] = $record;
        $this->loaded = $id;
        return $found;
    }

    private function forget(#[\SensitiveParameter] string $id): void
    {
        $this->known[$id] = self::record();
    }

    /** @return array{0: ?array, 1: bool} the entries of `d`, each [value, JSON text], and whether there is a session */
    private function get(#[\SensitiveParameter] string $token): array
    {
        $text = $this->exchange('GET', "get/$token");
        // Numbers that PHP cannot represent exactly become marked strings, which preserve their digits.
        $mark = bin2hex(random_bytes(8)) . ':';
        $marked = preg_replace_callback(
            '/"[^"\\\\]*+(?:\\\\.[^"\\\\]*+)*+"|-?[0-9][0-9.eE+-]*+/s',
            static fn(array $match): string => $match[0][0] === '"' || self::isExact($match[0])
                ? $match[0] : "\"$mark$match[0]\"",
            $text,
        );
        $session = self::parse($marked ?? $text);
        if (!is_array($session)) {
            throw self::error('the response is not a JSON object', 503);
        }
        $entries = [];
        foreach (is_array($session['d'] ?? null) ? $session['d'] : [] as $key => $value) {
            $number = is_string($value) && str_starts_with($value, $mark);
            $json = $number ? substr($value, strlen($mark)) : self::json($value);
            $entries[$key] = [$number ? self::parse($json) : $value, $json];
        }
        return [$entries, $session !== []];
    }

    private static function isExact(string $number): bool
    {
        $value = json_decode($number);
        return (is_int($value) || is_float($value) && is_finite($value)) && self::json($value) === $number;
    }

    /** Builds a record for $known from the entries of `d`. A plain value wins over a nested one of the same name. */
    private static function record(?array $entries = null, #[\SensitiveParameter] ?string $token = null): array
    {
        $record = ['token' => $token, 'raw' => [], 'seen' => [], 'values' => [], 'replaces' => [], 'from' => null];
        $nested = static fn($key): bool => str_starts_with((string) $key, self::NESTED);
        $entries ??= [];
        uksort($entries, static fn($a, $b): int => $nested($a) <=> $nested($b)); // stable: the order stays
        foreach ($entries as $key => [$value, $json]) {
            $key = (string) $key;
            $name = $nested($key) ? substr($key, strlen(self::NESTED)) : $key;
            if (isset($record['raw'][$name])) {
                continue;
            }
            $record['raw'][$name] = [$key, $json];
            try {
                if ($nested($key)) {
                    $value = is_string($value) ? self::parse($value) : throw new JsonException('not a string');
                }
                $record['seen'][$name] = self::form($name, $value);
                $record['values'][$name] = $value;
            } catch (JsonException) {
                error_log('rest-sessions: PHP cannot read the value of the key ' . self::printable($name)
                    . '; it stays stored unchanged and hidden from the app');
            }
        }
        return $record;
    }

    /** Sends the changed keys. A session that is new, or whose user has changed, gets a new token. */
    private function save(#[\SensitiveParameter] string $id, #[\SensitiveParameter] array $session): void
    {
        $known = $this->known[$id] ?? self::record();
        $after = self::encode($session);
        $changes = self::changes($known['seen'], $after);
        foreach ($changes as $name => $_) {
            self::checkLevels((string) $name, $session[$name] ?? null);
        }
        [$before, $user] = [self::user($known['seen']), self::user($after)];
        if ($known['token'] !== null && $before === $user) {
            $body = self::object(array_merge(...array_values($changes)));
            if ($changes && $this->ask('POST', "set/{$known['token']}", $body) === []) {
                throw self::error('the session was ended elsewhere during this request', 409);
            }
        } else {
            $old = array_filter([...$known['replaces'], $known['token'], $before === $user ? null : $known['from']]);
            $stays = $before === $user ? $known['from'] : null;
            $known['token'] = $this->move($old, $stays, $known, $after, $user, $before === $user);
            $known['replaces'] = [];
            $known['from'] = null;
        }
        $raw = array_diff_key($known['raw'], $known['seen']); // the hidden entries, unless the app has replaced them
        foreach ($after as $name => $form) {
            $raw[$name] = ($known['seen'][$name] ?? null) === $form ? $known['raw'][$name] : $form;
        }
        $this->known[$id] = ['raw' => $raw, 'seen' => $after, 'values' => $session] + $known;
    }

    /**
     * Stores a session under a new token, if there is anything to store, and ends the old ones. `stays`: the token of a
     * session that this one was copied from and that must not end.
     */
    private function move(
        #[\SensitiveParameter] array $old,
        #[\SensitiveParameter] ?string $stays,
        array $known,
        #[\SensitiveParameter] array $after,
        ?string $user,
        bool $same,
    ): ?string {
        // Unchanged entries, and those hidden from the app, are copied in their stored form.
        $d = array_diff_key($known['raw'], $known['seen'], $after);
        foreach ($after as $name => $form) {
            $d[$name] = ($known['seen'][$name] ?? null) === $form ? $known['raw'][$name] : $form;
        }
        // Entries that only other languages can read keep a session alive, unless its user has logged out.
        if (!$after && !($old && $user === null && $same && $d)) {
            array_map([$this, 'kill'], $old);
            $this->dropCookie($old);
            return null;
        }
        if ($user !== null) {
            self::checkUser($user);
        }
        if (headers_sent()) {
            throw self::error('the response started before the session was saved: its cookie cannot be sent', 500);
        }
        if (in_array(PHP_SAPI, self::NO_COOKIES, true)) {
            throw self::error('a new session needs a cookie, but the SAPI "' . PHP_SAPI . '" cannot send one', 500);
        }
        $token = $this->create($user, $d);
        try {
            foreach ($old as $one) {
                // Why not after a retry: the first attempt may have killed it, and only the response was lost.
                if (!$this->kill($one) && $same && !$this->service->retried) {
                    throw self::error('the session was ended elsewhere during this request', 409);
                }
            }
            // Why after the create: a later logout of the user everywhere also ends the new session.
            if ($stays !== null && !$this->get($stays)[1]) {
                throw self::error('the session was ended elsewhere during this request', 409);
            }
        } catch (Throwable $error) {
            try {
                $this->kill($token); // no cookie will name it
            } catch (RestSessionException) {
            }
            throw $error;
        }
        $this->sendCookie($token);
        return $token;
    }

    private function create(?string $user, #[\SensitiveParameter] array $d): string
    {
        // Each session without a user gets its own id. Why: the service keeps an index entry per id.
        $id = $user === null ? self::ANONYMOUS . ':' . bin2hex(random_bytes(8)) : self::segment($user);
        $query = 'ip=' . rawurlencode(self::ip()) . '&ttl=' . (int) ini_get('session.gc_maxlifetime');
        $token = $this->ask('PUT', "create/$id?$query", self::object($d))['token'] ?? null;
        if (!is_string($token) || !preg_match(self::TOKEN, $token)) {
            throw self::error('the service returned no token', 503);
        }
        return $token;
    }

    private function kill(#[\SensitiveParameter] string $token): bool
    {
        return ($this->ask('DELETE', "kill/$token")['kill'] ?? 0) === 1;
    }

    /** Kills the sessions that session_regenerate_id(true) replaced, if no save followed. */
    private function killReplaced(): void
    {
        foreach ($this->known as $id => $known) {
            $this->known[$id]['replaces'] = [];
            array_map([$this, 'kill'], $known['replaces']);
        }
    }

    private function sendCookie(#[\SensitiveParameter] string $token): void
    {
        $this->dropCookie();
        $options = session_get_cookie_params();
        $options['expires'] = $options['lifetime'] ? time() + $options['lifetime'] : 0;
        unset($options['lifetime']);
        setcookie($this->name, $token, $options);
    }

    /** Returns the Set-Cookie lines of the response that set our cookie. */
    private function cookieLines(): array
    {
        $start = "Set-Cookie: $this->name=";
        return array_filter(headers_list(), static fn(string $line): bool => str_starts_with($line, $start));
    }

    private static function cookieValue(#[\SensitiveParameter] string $line): string
    {
        return explode(';', explode('=', $line, 2)[1])[0];
    }

    /** Removes our Set-Cookie lines from the response: all, or only those with the given tokens. */
    private function dropCookie(#[\SensitiveParameter] ?array $tokens = null): void
    {
        $drop = [];
        foreach ($this->cookieLines() as $line) {
            if ($tokens === null || in_array(self::cookieValue($line), $tokens, true)) {
                $drop[] = $line;
            }
        }
        if ($drop && !headers_sent()) {
            $keep = array_diff(preg_grep('/^Set-Cookie:/i', headers_list()), $drop);
            header_remove('Set-Cookie');
            foreach ($keep as $line) {
                header($line, false);
            }
        }
    }

    /**
     * Returns the chunk size of our output buffer. PHP passes the buffer's content to output() at this size.
     *
     * Why it matters: if the app has a buffer with a callback above ours, ours cannot be removed. Its chunk size then
     * decides when streamed output reaches the client and how much memory a download takes. Without a buffer below
     * ours, the app does not expect to read its output back, and a flush must reach the client. With one, the app may
     * read its output back, and it expects a stream to pass only if the buffer below has a chunk size.
     */
    private static function chunkSize(): int
    {
        return match (true) {
            ob_get_level() === 0 => 1,
            ob_get_status()['chunk_size'] > 0 => 1 << 20,
            default => 0,
        };
    }

    /**
     * The callback of our output buffer. PHP calls it for a full chunk, and when the app, the end of the request, or
     * release() flushes the buffer. A flush saves an open session first, because it may send the response's headers.
     */
    private function output(string $output, int $phase): string
    {
        if ($phase & PHP_OUTPUT_HANDLER_FINAL) {
            $this->level = 0;
        }
        $emptied = $phase & (PHP_OUTPUT_HANDLER_FLUSH | PHP_OUTPUT_HANDLER_FINAL);
        if (!$emptied && !$this->passThrough && !($phase & PHP_OUTPUT_HANDLER_CLEAN)) {
            $this->held .= $output;
            return '';
        }
        [$output, $this->held] = [$this->held . $output, ''];
        if (!$emptied || $this->ending || $this->open === null || !isset($_SESSION) || !is_array($_SESSION)) {
            return $output; // PHP drops it if the app discards the buffer
        }
        try {
            $this->save($this->open, $_SESSION);
            return $output;
        } catch (Throwable $error) {
            $this->failed = $error;
            error_log($error->getMessage());
            $this->setErrorStatus($error, true);
            return '';
        }
    }

    /** Flushes our output buffer and removes it. */
    private function release(): void
    {
        if ($this->level === 0) {
            return;
        }
        // Takes down the app's buffers above ours, and restores them afterwards.
        $above = [];
        while (ob_get_level() > $this->level && ob_get_status()['name'] === 'default output handler') {
            $size = ob_get_status()['chunk_size'];
            $above[] = [ob_get_clean(), $size];
        }
        $this->passThrough = true;
        if (ob_get_level() === $this->level) {
            $this->ending = true;
            ob_end_flush();
            $this->ending = false;
        }
        foreach (array_reverse($above) as [$text, $size]) {
            ob_start(null, $size);
            echo $text;
        }
    }

    /** Runs $work. If it throws, replaces the response by an error, even if the app has already written it. */
    private function guard(callable $work, bool $saving = false): mixed
    {
        try {
            return $work();
        } catch (Throwable $error) {
            if (!headers_sent()) {
                $this->ending = true;
                while (ob_get_level() > 0 && ob_end_clean());
                $this->ending = false;
            }
            $this->setErrorStatus($error, $saving);
            throw $error;
        }
    }

    /** Sets the status for an error. After a failed save, also removes the headers of the discarded response. */
    private function setErrorStatus(Throwable $error, bool $saving): void
    {
        if (headers_sent()) {
            return;
        }
        if ($saving) {
            $cookies = $this->cookieLines(); // from an earlier, successful save of this request
            header_remove();
            header('Cache-Control: no-store');
            foreach ($cookies as $line) {
                header($line, false);
            }
        }
        http_response_code($error instanceof RestSessionException ? $error->getCode() : 500);
    }

    private function ask(
        string $method,
        #[\SensitiveParameter] string $path,
        #[\SensitiveParameter] ?string $body = null,
    ): array {
        try {
            $answer = self::parse($this->exchange($method, $path, $body));
        } catch (JsonException) {
            $answer = null;
        }
        return is_array($answer) ? $answer : throw self::error('the response is not a JSON object', 503);
    }

    private function exchange(
        string $method,
        #[\SensitiveParameter] string $path,
        #[\SensitiveParameter] ?string $body = null,
    ): string {
        [$status, $text] = $this->service->ask($method, "$this->app/$path", $body);
        if ($status !== 200) {
            $answer = json_decode($text, true);
            $said = is_string($answer['name'] ?? null) && is_string($answer['message'] ?? null)
                ? " {$answer['name']}: {$answer['message']}" : '';
            // Why: a proxy's error page may contain the path, which holds a token.
            $said = self::printable(preg_replace('/[A-Za-z0-9]{20,}/', '...', $said), 200);
            throw self::error("status $status$said", in_array($status, [429, 502, 503, 504], true) ? 503 : 500);
        }
        return $text;
    }

    /** Encodes the app's values, by name: [key, JSON text]. Scalars stay plain, others become JSON text. */
    private static function encode(#[\SensitiveParameter] array $session): array
    {
        $forms = [];
        foreach ($session as $name => $value) {
            $name = (string) $name;
            if (self::holdsObject($value)) {
                $shown = self::printable($name);
                throw self::error("\$_SESSION['$shown'] contains an object, which JSON cannot hold", 500);
            }
            try {
                $forms[$name] = self::form($name, $value);
            } catch (JsonException $error) {
                $shown = self::printable($name);
                throw self::error("\$_SESSION['$shown'] cannot be stored: {$error->getMessage()}", 500);
            }
        }
        return $forms;
    }

    /** @return array{0: string, 1: string} */
    private static function form(string $name, #[\SensitiveParameter] mixed $value): array
    {
        if (is_scalar($value) && !str_starts_with($name, self::NESTED)) {
            self::json($name); // throws for a name that is not UTF-8
            return [$name, self::json($value)];
        }
        return [self::NESTED . $name, self::json(self::json($value))];
    }

    private static function holdsObject(#[\SensitiveParameter] mixed $value, int $level = 0): bool
    {
        if (!is_array($value) || $level > 512) { // json() throws for deeper ones
            return is_object($value) || is_resource($value) || gettype($value) === 'resource (closed)';
        }
        foreach ($value as $inner) {
            if (self::holdsObject($inner, $level + 1)) {
                return true;
            }
        }
        return false;
    }

    /**
     * Returns the changes from $before to $after, by name: [key, JSON text]. Each key is sent together with its other
     * form, so that concurrent requests cannot leave both.
     */
    private static function changes(#[\SensitiveParameter] array $before, #[\SensitiveParameter] array $after): array
    {
        $changes = [];
        foreach ($before + $after as $name => $_) {
            if (($before[$name] ?? null) === ($after[$name] ?? null)) {
                continue;
            }
            [$key, $json] = $after[$name] ?? [null, null];
            $forms = [self::NESTED . $name];
            if (!str_starts_with((string) $name, self::NESTED)) {
                $forms[] = (string) $name;
            }
            foreach ($forms as $form) {
                $changes[$name][] = [$form, $form === $key ? $json : 'null'];
            }
        }
        return $changes;
    }

    /** Returns the session's user, or null for an anonymous visitor. */
    private static function user(#[\SensitiveParameter] array $forms): ?string
    {
        foreach (self::USER_KEYS as $key) {
            $user = isset($forms[$key]) && $forms[$key][0] === $key ? self::parse($forms[$key][1]) : null;
            if (is_int($user) || is_string($user) && $user !== '') {
                return (string) $user;
            }
        }
        return null;
    }

    private static function checkUser(string $user): void
    {
        if ($user === '' || $user === self::ANONYMOUS || str_starts_with($user, self::ANONYMOUS . ':')) {
            throw self::error('"", "anonymous" and "anonymous:…" are reserved and cannot be user ids', 500);
        }
    }

    /** Encodes an id as a path segment. Escapes `.` and `..`, which proxies would resolve. */
    private static function segment(string $id): string
    {
        return in_array($id, ['.', '..'], true) ? str_replace('.', '%2E', $id) : rawurlencode($id);
    }

    /** Returns the client's IP address. Some servers and proxies append a port or send a word like "unknown". */
    private static function ip(): string
    {
        $ip = is_string($_SERVER['REMOTE_ADDR'] ?? null) ? trim($_SERVER['REMOTE_ADDR']) : '';
        if (preg_match('/\A\[([^\]]+)\](?::\d+)?\z/', $ip, $inner) || preg_match('/\A([\d.]+):\d+\z/', $ip, $inner)) {
            $ip = $inner[1];
        }
        [$address, $zone] = explode('%', $ip, 2) + [1 => null];
        $valid = filter_var($address, FILTER_VALIDATE_IP, $zone === null ? 0 : FILTER_FLAG_IPV6)
            && ($zone === null || preg_match('/\A[A-Za-z0-9._~-]{1,64}\z/', $zone));
        return $valid ? $ip : '0.0.0.0';
    }

    /** Identifies the process, fiber and coroutine, any of which may serve requests of several visitors. */
    private static function executionContext(): array
    {
        return [
            getmypid(),
            class_exists('Fiber', false) ? Fiber::getCurrent() : null,
            class_exists('Swoole\Coroutine', false) ? Swoole\Coroutine::getCid() : null,
        ];
    }

    /** Whether PHP calls this class from session_regenerate_id(), which continues the session under another id. */
    private static function regenerating(): bool
    {
        return (debug_backtrace(DEBUG_BACKTRACE_IGNORE_ARGS, 3)[2]['function'] ?? '') === 'session_regenerate_id';
    }

    private static function isOn(string $setting): bool
    {
        return filter_var(ini_get("session.$setting"), FILTER_VALIDATE_BOOLEAN);
    }

    private static function checkLevels(string $name, #[\SensitiveParameter] mixed $value): void
    {
        try {
            self::json($value, self::LEVELS);
        } catch (JsonException) {
            $shown = self::printable($name);
            throw self::error("\$_SESSION['$shown'] is nested deeper than " . self::LEVELS . ' levels', 500);
        }
    }

    /** Joins entries [key, JSON text] to a JSON object. Why not a PHP object: it drops keys that begin with NUL. */
    private static function object(#[\SensitiveParameter] array $entries): string
    {
        $members = [];
        foreach ($entries as [$key, $json]) {
            $members[] = self::json((string) $key) . ':' . $json;
        }
        return '{' . implode(',', $members) . '}';
    }

    private static function json(#[\SensitiveParameter] mixed $value, int $levels = 512): string
    {
        $flags = JSON_THROW_ON_ERROR | JSON_PRESERVE_ZERO_FRACTION | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES;
        return self::precisely(static fn(): string => json_encode($value, $flags, $levels));
    }

    private static function parse(#[\SensitiveParameter] string $text): mixed
    {
        // An integer beyond 64 bits becomes a string and keeps its digits.
        return json_decode($text, true, 512, JSON_THROW_ON_ERROR | JSON_BIGINT_AS_STRING);
    }

    /** Runs $work with full precision for floats, whatever serialize_precision is set to. */
    private static function precisely(callable $work): string
    {
        $precision = ini_get('serialize_precision');
        if ($precision === '-1') {
            return $work();
        }
        ini_set('serialize_precision', '-1');
        try {
            return $work();
        } finally {
            ini_set('serialize_precision', (string) $precision);
        }
    }

    private static function quietly(callable $work): void
    {
        set_error_handler(static fn(): bool => true);
        try {
            $work();
        } finally {
            restore_error_handler();
        }
    }

    /** Escapes control characters in untrusted text, and truncates it. */
    private static function printable(string $text, int $length = 80): string
    {
        return addcslashes(substr($text, 0, $length), "\0..\37\177");
    }

    private static function error(string $message, int $status): RestSessionException
    {
        return RestSessionException::of($message, $status);
    }
}

/** The service failed or did not answer. The code is the HTTP status for the visitor. Messages contain no token. */
final class RestSessionException extends RuntimeException
{
    public function __construct(string $message, int $status)
    {
        parent::__construct("rest-sessions: $message", $status);
    }

    /** Creates an exception whose trace has no arguments: PHP before 8.2 ignores #[SensitiveParameter]. */
    public static function of(string $message, int $status): self
    {
        $before = ini_set('zend.exception_ignore_args', '1');
        try {
            return new self($message, $status);
        } finally {
            if ($before !== false) {
                ini_set('zend.exception_ignore_args', $before);
            }
        }
    }
}

/**
 * An HTTP client for the service, with one persistent connection per process.
 *
 * Why not PHP's http wrapper: allow_url_fopen=0 disables it, its timeout restarts with each read, and its warnings show
 * the URL.
 *
 * Invariant: $stream is null while a call uses the connection, and is set again only after a complete response.
 */
final class RestSessionConnection
{
    private const DEADLINE = 5.0; // seconds for a whole call: all addresses, TLS, the retry, and the whole response
    private const REUSED_DEADLINE = 2.0; // seconds, for an idempotent request on a reused connection; then a retry
    private const MAX_IDLE = 15.0; // seconds; proxies may silently drop a connection that is idle for longer
    private const MAX_HEAD = 65536; // bytes
    private const MAX_BODY = 16777216; // bytes

    /** Whether the last call was sent twice. */
    public bool $retried = false;

    private bool $tls;
    private string $host;
    private int $port;
    private string $path;
    private string $head;
    /** @var ?resource */
    private $stream = null;
    private int $pid = 0;
    private float $used = 0.0;
    private int $sent = 0;
    private string $reason = '';
    /** @var resource[] */
    private static array $foreign = [];

    public function __construct(#[\SensitiveParameter] string $url)
    {
        $parts = parse_url($url);
        $scheme = strtolower($parts['scheme'] ?? '');
        if (!in_array($scheme, ['http', 'https'], true) || ($parts['host'] ?? '') === ''
            || isset($parts['query']) || isset($parts['fragment']) || preg_match('/[^\x21-\x7e]/', $url)) {
            throw RestSessionException::of('the option `url` must be like http://127.0.0.1:3000', 500);
        }
        $this->tls = $scheme === 'https';
        $this->host = trim($parts['host'], '[]');
        $this->port = $parts['port'] ?? ($this->tls ? 443 : 80);
        $this->path = rtrim($parts['path'] ?? '', '/') . '/';
        $this->head = "Host: {$parts['host']}" . (isset($parts['port']) ? ":$this->port" : '') . "\r\n";
        if (isset($parts['user'])) {
            $login = rawurldecode($parts['user']) . ':' . rawurldecode($parts['pass'] ?? '');
            $this->head .= 'Authorization: Basic ' . base64_encode($login) . "\r\n";
        }
    }

    /**
     * Sends a request. If a reused connection fails, an idempotent request is retried once on a new one.
     *
     * @return array{0: int, 1: string} status and body
     */
    public function ask(
        string $method,
        #[\SensitiveParameter] string $path,
        #[\SensitiveParameter] ?string $body = null,
    ): array {
        $deadline = self::now() + self::DEADLINE;
        $request = "$method $this->path$path HTTP/1.1\r\n$this->head" . ($body === null ? "\r\n"
            : "Content-Type: application/json\r\nContent-Length: " . strlen($body) . "\r\n\r\n$body");
        $repeatable = in_array($method, ['GET', 'DELETE'], true);
        $this->retried = false;
        $this->sent = 0;
        $stream = $this->take();
        if ($stream !== null) {
            try {
                $end = $repeatable ? self::now() + self::REUSED_DEADLINE : $deadline;
                return $this->exchange($stream, $request, $end);
            } catch (RestSessionException $error) {
                fclose($stream);
                if (!$repeatable && $this->sent > 0) {
                    throw $error;
                }
                $this->retried = $this->sent > 0;
            }
        }
        return $this->exchange($this->connect($deadline), $request, $deadline);
    }

    /** Takes the open connection, unless it belongs to the parent process, was idle for too long, or was closed. */
    private function take()
    {
        $stream = $this->stream;
        $this->stream = null;
        if ($stream === null) {
            return null;
        }
        if ($this->pid !== getmypid()) {
            self::$foreign[] = $stream; // Why not close: that could end the connection for the parent process, too.
            return null;
        }
        [$read, $write, $except] = [[$stream], null, null];
        $readable = self::quietly(static fn() => stream_select($read, $write, $except, 0, 0));
        if ($readable !== 0 || self::now() - $this->used > self::MAX_IDLE) {
            fclose($stream);
            return null;
        }
        return $stream;
    }

    /** Tries all addresses of the host in order. Each but the last gets half of the remaining time. */
    private function connect(float $deadline)
    {
        $this->reason = 'the deadline has passed';
        foreach ($this->addresses() as [$address, $last]) {
            $left = $deadline - self::now();
            if ($left <= 0) {
                break;
            }
            $end = $last ? $deadline : self::now() + $left / 2;
            $target = str_contains($address, ':') ? "[$address]" : $address;
            $context = stream_context_create([
                'socket' => ['tcp_nodelay' => true],
                'ssl' => ['peer_name' => $this->host, 'verify_peer' => true, 'verify_peer_name' => true],
            ]);
            $stream = self::quietly(fn() => stream_socket_client(
                "tcp://$target:$this->port",
                $code,
                $this->reason,
                $end - self::now(),
                STREAM_CLIENT_CONNECT,
                $context,
            ));
            if ($stream === false) {
                continue;
            }
            stream_set_blocking($stream, false);
            if (!$this->tls || $this->encrypt($stream, $end)) {
                return $stream;
            }
            fclose($stream);
        }
        throw RestSessionException::of("no connection to $this->host:$this->port: $this->reason", 503);
    }

    private function encrypt($stream, float $end): bool
    {
        $this->reason = 'TLS: the handshake timed out';
        $recordReason = function (int $level, string $message): bool {
            $this->reason = 'TLS: ' . preg_replace('/\s+/', ' ', substr($message, strrpos($message, '(): ') + 4, 300));
            return true;
        };
        do {
            set_error_handler($recordReason);
            try {
                $done = stream_socket_enable_crypto($stream, true, STREAM_CRYPTO_METHOD_TLS_CLIENT);
            } finally {
                restore_error_handler();
            }
        } while ($done === 0 && self::wait($stream, $end));
        return $done === true;
    }

    /** @return iterable<array{0: string, 1: bool}> each address, and whether it is the last */
    private function addresses(): iterable
    {
        if (filter_var($this->host, FILTER_VALIDATE_IP)) {
            yield [$this->host, true];
            return;
        }
        foreach (self::quietly(fn() => gethostbynamel($this->host)) ?: [] as $address) {
            yield [$address, false];
        }
        if (function_exists('socket_addrinfo_lookup')) {
            $hints = ['ai_family' => AF_INET6, 'ai_socktype' => SOCK_STREAM];
            foreach (self::quietly(fn() => socket_addrinfo_lookup($this->host, null, $hints)) ?: [] as $info) {
                yield [socket_addrinfo_explain($info)['ai_addr']['sin6_addr'], false];
            }
        }
        yield [$this->host, true]; // the system's own resolver may find more addresses
    }

    /** @return array{0: int, 1: string} */
    private function exchange($stream, #[\SensitiveParameter] string $request, float $deadline): array
    {
        $keep = false;
        $answer = self::quietly(function () use ($stream, $request, $deadline, &$keep): array {
            $this->send($stream, $request, $deadline);
            return $this->receive($stream, $deadline, $keep);
        });
        // Why not with TLS where processes fork: a child that exits would send close_notify on the parent's connection.
        if ($keep && !($this->tls && function_exists('pcntl_fork'))) {
            [$this->stream, $this->pid, $this->used] = [$stream, getmypid(), self::now()];
        }
        return $answer;
    }

    private function send($stream, #[\SensitiveParameter] string $request, float $deadline): void
    {
        while ($request !== '') {
            $count = fwrite($stream, $request);
            if ($count === false || $count === 0 && !self::wait($stream, $deadline, true)) {
                throw $this->broken();
            }
            $this->sent += $count;
            $request = substr($request, $count);
        }
    }

    /** @return array{0: int, 1: string} */
    private function receive($stream, float $deadline, bool &$keep): array
    {
        $data = '';
        do {
            while (($end = strpos($data, "\r\n\r\n")) === false) {
                if (strlen($data) > self::MAX_HEAD || !$this->more($stream, $data, $deadline)) {
                    throw $this->broken();
                }
            }
            $lines = explode("\r\n", substr($data, 0, $end));
            $data = substr($data, $end + 4);
            if (!preg_match('~\AHTTP/1\.([01]) ([1-5]\d\d)(?: |\z)~', array_shift($lines), $match)) {
                throw $this->broken();
            }
        } while ($match[2][0] === '1');
        $fields = ['content-length' => [], 'transfer-encoding' => [], 'connection' => []];
        foreach ($lines as $line) {
            [$name, $value] = explode(':', $line, 2) + [1 => ''];
            $fields[strtolower($name)][] = strtolower(trim($value));
        }
        $lengths = array_values(array_unique($fields['content-length']));
        $keep = $match[1] === '1' && !preg_grep('/(?:^|,)\s*close\s*(?:,|$)/', $fields['connection']);
        if ($match[2] === '204' || $match[2] === '304') {
            $body = '';
        } elseif ($fields['transfer-encoding'] === ['chunked']) {
            $keep = $keep && $lengths === [];
            $body = $this->chunks($stream, $data, $deadline);
        } elseif ($fields['transfer-encoding'] !== [] || count($lengths) > 1) {
            throw $this->broken();
        } elseif ($lengths !== []) {
            if (!preg_match('/\A\d{1,9}\z/', $lengths[0]) || (int) $lengths[0] > self::MAX_BODY) {
                throw $this->broken();
            }
            $body = $this->bytes($stream, $data, (int) $lengths[0], $deadline);
        } else {
            $keep = false;
            while (strlen($data) <= self::MAX_BODY && $this->more($stream, $data, $deadline));
            [$body, $data] = [$data, ''];
        }
        if (strlen($body) > self::MAX_BODY) {
            throw $this->broken();
        }
        $keep = $keep && $data === '';
        return [(int) $match[2], $body];
    }

    private function chunks($stream, string &$data, float $deadline): string
    {
        $body = '';
        do {
            if (!preg_match('/\A([0-9A-Fa-f]{1,7})[ \t]*(?:;.*)?\z/', $this->line($stream, $data, $deadline), $match)) {
                throw $this->broken();
            }
            $size = hexdec($match[1]);
            if (strlen($body) + $size > self::MAX_BODY) {
                throw $this->broken();
            }
            $body .= $this->bytes($stream, $data, $size, $deadline);
            if ($size > 0 && $this->line($stream, $data, $deadline) !== '') {
                throw $this->broken();
            }
        } while ($size > 0);
        while ($this->line($stream, $data, $deadline) !== ''); // trailers
        return $body;
    }

    private function line($stream, string &$data, float $deadline): string
    {
        while (($end = strpos($data, "\r\n")) === false) {
            if (strlen($data) > self::MAX_HEAD || !$this->more($stream, $data, $deadline)) {
                throw $this->broken();
            }
        }
        $line = substr($data, 0, $end);
        $data = substr($data, $end + 2);
        return $line;
    }

    private function bytes($stream, string &$data, int $count, float $deadline): string
    {
        while (strlen($data) < $count) {
            if (!$this->more($stream, $data, $deadline)) {
                throw $this->broken();
            }
        }
        $bytes = substr($data, 0, $count);
        $data = substr($data, $count);
        return $bytes;
    }

    /** Reads available bytes into $data. Returns false at the end of the stream; throws at the deadline. */
    private function more($stream, string &$data, float $deadline): bool
    {
        while (true) {
            $read = fread($stream, 65536);
            if ($read !== false && $read !== '') {
                $data .= $read;
                return true;
            }
            if ($read === false || stream_get_meta_data($stream)['eof']) { // feof() might wait
                return false;
            }
            if (!self::wait($stream, $deadline)) {
                throw RestSessionException::of("$this->host:$this->port did not answer in time", 503);
            }
        }
    }

    /** Waits until the stream is ready. Returns false at the deadline. After a signal it continues to wait. */
    private static function wait($stream, float $deadline, bool $toWrite = false): bool
    {
        while (($left = $deadline - self::now()) > 0) {
            [$read, $write, $except] = [$toWrite ? null : [$stream], $toWrite ? [$stream] : null, null];
            if (self::quietly(static fn() => stream_select($read, $write, $except, 0, (int) min($left * 1e6, 1e6)))) {
                return true;
            }
        }
        return false;
    }

    private function broken(): RestSessionException
    {
        return RestSessionException::of("$this->host:$this->port sent no complete response", 503);
    }

    /** Runs $work with PHP's warnings suppressed: an app may convert them to exceptions. */
    private static function quietly(callable $work): mixed
    {
        set_error_handler(static fn(): bool => true);
        try {
            return $work();
        } finally {
            restore_error_handler();
        }
    }

    private static function now(): float
    {
        return hrtime(true) / 1e9;
    }
}
