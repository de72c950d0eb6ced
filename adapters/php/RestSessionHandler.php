<?php

declare(strict_types=1);

/**
 * Keeps PHP's sessions in rest-sessions. Copy this file; README.md beside it shows its use.
 *
 * The service makes the tokens, so a new session has none before it is first saved. Until then PHP knows the session by
 * an internal id that never leaves the process; therefore this class, not PHP, reads and sends the cookie.
 *
 * Output is buffered while a session is open, because its save may add a cookie or turn the answer into an error.
 */
final class RestSessionHandler implements
    SessionHandlerInterface,
    SessionIdInterface,
    SessionUpdateTimestampHandlerInterface
{
    private const TOKEN = '/\A[A-Za-z0-9]{64}\z/';
    private const NESTED = 'json:'; // prefix of a key whose value is JSON text
    private const LEVELS = 100; // nesting that every language can read
    private const USER_KEYS = ['user_id', '_user_id', '_auth_user_id']; // ours, Flask-Login's, Django's
    private const ANONYMOUS = 'anonymous';
    private const COOKIES = 4; // distinct cookies of our name that are looked up
    /** SAPIs that send no head. They may serve one visitor after another. */
    private const NO_COOKIES = ['cli', 'phpdbg', 'embed', 'micro'];

    private static ?self $current = null;
    /** @var array<string, self> for logoutEverywhere() without start() */
    private static array $unstarted = [];
    private static string $left = ''; // the id that our last session left in session_id()
    private static bool $registered = false;
    private static bool $configured = false; // PHP's settings are ours

    private RestSessionConnection $service;
    private string $app;
    private string $name = 'session';
    /**
     * What is known of the sessions, by PHP's id: arrays with these keys. `token`: null if the service has no such
     * session. `raw`: the entries of `d` by the app's name of them, each [key, JSON text]. `seen`: the same for what
     * the app sees. `values`: what the app sees. `replaces`: tokens to kill once the session is saved. `from`: the token
     * that it was copied from.
     *
     * @var array<array-key, array>
     */
    private array $known = [];
    /** @var array<array-key, string> tokens by PHP's ids, of earlier sessions of this request */
    private array $ids = [];
    private ?string $loaded = null; // the id that load() has just read
    private ?string $open = null; // the id of the open session
    private ?array $leaving = null; // what session_regenerate_id() leaves behind
    private array $strand = []; // who opened it
    private int $level = 0; // of our output buffer, 0 if there is none
    private string $held = ''; // what the app has written, and the buffer does not hold any more
    private bool $through = false; // what reaches the buffer goes on at once
    private bool $ending = false; // the buffer is given out or thrown away by us
    private ?Throwable $failed = null; // a save that failed where no exception could be thrown

    /** In the place of session_start(), with its options, and with `url` and `app` of the service. */
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

    /** Ends every session of a user, and answers how many there were. */
    public static function logoutEverywhere(string|int $user): int
    {
        self::checkUser((string) $user);
        $place = getenv('REST_SESSIONS_URL') . ' ' . getenv('REST_SESSIONS_APP');
        $handler = self::$current;
        if ($handler === null) {
            $handler = self::$unstarted[$place] ?? new self();
            self::$unstarted = [$place => $handler]; // keeps the connection for the next call
        }
        return (int) ($handler->ask('DELETE', 'killsoid/' . self::segment((string) $user))['kill'] ?? 0);
    }

    public function __construct(?string $url = null, ?string $app = null)
    {
        $app ??= getenv('REST_SESSIONS_APP') ?: null;
        if ($app === null) {
            throw self::error('name the app, as the option `app` or in REST_SESSIONS_APP', 500);
        }
        if (!preg_match('/\A[A-Za-z0-9_-]{3,20}\z/', $app)) {
            throw self::error('the option `app` must be 3 to 20 characters of A-Z, a-z, 0-9, _ and -', 500);
        }
        $this->app = $app;
        $this->service = new RestSessionConnection($url ?? (getenv('REST_SESSIONS_URL') ?: 'http://127.0.0.1:3000'));
    }

    /** start() while a session is active: fine if it is this request's own, an error otherwise. */
    private static function resume(): bool
    {
        $own = self::$current;
        if ($own === null || $own->open === null) {
            session_abort(); // Why: what the app stores from here on must not go to another store.
            throw self::error('a session is active already: switch session.auto_start off, and call start() '
                . 'in the place of session_start()', 500);
        }
        // Why: in a process that serves one visitor after another, this is the session of another visitor.
        if ($own->strand !== self::strand() || in_array(PHP_SAPI, self::NO_COOKIES, true)) {
            throw self::error('the session of another request is still open in this process: close it with '
                . 'session_write_close() first', 500);
        }
        return session_start(); // PHP's own notice, and true
    }

    /** start() after the answer has begun: only a session that this request had open before can be opened again. */
    private static function reopen(array $options): bool
    {
        if (self::$current === null || in_array(PHP_SAPI, self::NO_COOKIES, true)) {
            throw self::error('the answer has begun: call start() before any output', 500);
        }
        return session_start(array_intersect_key($options, ['read_and_close' => true]));
    }

    /**
     * Saves after the app's own shutdown functions, as PHP does with its own sessions: one that is registered during
     * the shutdown runs last.
     */
    private static function register(): void
    {
        if (!self::$registered || PHP_SAPI === 'frankenphp') { // the latter forgets it with each request
            register_shutdown_function(static function (): void {
                register_shutdown_function(static fn() => session_write_close());
            });
            self::$registered = true;
        }
    }

    /** Sets PHP's options, and refuses those that cannot be honoured. */
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
            throw self::error('session.use_cookies is off, and a token travels in a cookie only', 500);
        }
        // PHP writes the progress of an upload to its own store before the script runs.
        $progress = ini_get('session.upload_progress.name');
        if ($_FILES && isset($_POST[$progress]) && self::isOn('upload_progress.enabled')) {
            throw self::error('session.upload_progress cannot be honoured: set session.upload_progress.enabled=0', 500);
        }

        $this->name = (string) ($options['name'] ?? (session_name() === 'PHPSESSID' ? 'session' : session_name()));
        foreach (['name', 'read_and_close', 'auto_start', 'upload_progress.enabled'] as $key) {
            unset($options[$key]);
        }
        if (!preg_match('/\A[!#$%&\'*+\-.^_`|~0-9A-Za-z]{1,256}\z/', $this->name) || is_numeric($this->name)) {
            throw self::error('the option `name` is no name of a cookie that PHP can send', 500);
        }
        $defaults = [];
        foreach (['cookie_secure' => '1', 'cookie_httponly' => '1', 'cookie_samesite' => 'Lax'] as $key => $value) {
            // php.ini and session_set_cookie_params() count if they ask for something; PHP's defaults ask for nothing.
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
            } catch (Error $error) { // as newer PHPs throw while session.upload_progress.enabled is on
                throw self::error("PHP does not take the settings: {$error->getMessage()}", 500);
            }
        });
        if (session_name() !== $this->name) {
            $refused = 'name';
        }
        if ($refused !== '') {
            throw self::error("PHP does not take the option `$refused`", 500);
        }
        $this->checkCookie();
        $ttl = (int) ini_get('session.gc_maxlifetime');
        if ($ttl < 10 || $ttl > 2147483647) {
            throw self::error('session.gc_maxlifetime must be 10 to 2147483647 seconds', 500);
        }
    }

    /** A cookie that PHP cannot send, or that browsers drop, would leave sessions that no cookie names. */
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
            throw self::error("the option `$key` makes no cookie that a browser keeps", 500);
        }
    }

    /** The token of the session that this request has, or '' if it has none. */
    private function choose(): string
    {
        $id = session_id();
        // An id that the app has set counts; one that is left of the last session may be another visitor's.
        $set = $id !== '' && $id !== self::$left;
        // Internal ids of this request, for an app that sets one again. Only of tokens that the visitor has.
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
     * The tokens that this visitor has: of the cookie that the answer sets, then of the cookies that came.
     *
     * From the raw header, because $_COOKIE renames keys and keeps one value of a name. Servers join several header
     * lines with a comma.
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
                throw self::error('call RestSessionHandler::start(), and leave its settings as they are', 500);
            }
            if ($this->level === 0 && !headers_sent()) {
                ob_start(fn(string $output, int $phase): string => $this->output($output, $phase), self::piece());
                $this->level = ob_get_level();
            }
            $this->through = headers_sent();
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
        return 0; // the service removes what has expired
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
            $this->known[$id] = $this->leaving; // a new id for the same session
        } elseif ($this->loaded !== $id) {
            $this->guard(fn() => $this->isOurs($id) ? $this->load($id) : $this->forget($id));
        }
        $this->loaded = $this->leaving = null;
        $this->open = self::$left = $id;
        $this->strand = self::strand();
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
            // Not $data where there is a choice: serialize() rounds by the app's serialize_precision.
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

    /** Nothing has changed, and the read has renewed the session. */
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
            // Killed once the new one is stored, so that a failure in between does not cost the visitor the session.
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

    /** session_regenerate_id(false): the old session stays, with the changes up to now. */
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

    /** Whether the id may be opened: one that is left of the last session only if the visitor has its token. */
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

    /** Reads a session, and says whether there is one. */
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
        // Numbers that PHP does not hold exactly become marked strings, so that their digits survive.
        $mark = bin2hex(random_bytes(8)) . ':';
        $marked = preg_replace_callback(
            '/"[^"\\\\]*+(?:\\\\.[^"\\\\]*+)*+"|-?[0-9][0-9.eE+-]*+/s',
            static fn(array $match): string => $match[0][0] === '"' || self::isExact($match[0])
                ? $match[0] : "\"$mark$match[0]\"",
            $text,
        );
        $session = self::parse($marked ?? $text);
        if (!is_array($session)) {
            throw self::error('an answer that is no object', 503);
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

    /** What is known of a session with these entries. A plain value wins over a nested one of the same name. */
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
                    $value = is_string($value) ? self::parse($value) : throw new JsonException('no text');
                }
                $record['seen'][$name] = self::form($name, $value);
                $record['values'][$name] = $value;
            } catch (JsonException) {
                error_log('rest-sessions: the key ' . self::printable($name)
                    . ' holds what PHP cannot read; it is left as it is and hidden from the app');
            }
        }
        return $record;
    }

    /** Sends the keys that have changed. A session that is new, or whose user has changed, gets a new token. */
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
                throw self::error('the session has ended while this request was served', 409);
            }
        } else {
            $old = array_filter([...$known['replaces'], $known['token'], $before === $user ? null : $known['from']]);
            $stays = $before === $user ? $known['from'] : null;
            $known['token'] = $this->move($old, $stays, $known, $after, $user, $before === $user);
            $known['replaces'] = [];
            $known['from'] = null;
        }
        $raw = array_diff_key($known['raw'], $known['seen']); // hidden from the app, but for what it has replaced
        foreach ($after as $name => $form) {
            $raw[$name] = ($known['seen'][$name] ?? null) === $form ? $known['raw'][$name] : $form;
        }
        $this->known[$id] = ['raw' => $raw, 'seen' => $after, 'values' => $session] + $known;
    }

    /**
     * Stores a session under a new token, if there is anything to store, and ends the old ones. `stays`: the token of the
     * session that it was copied from, and that does not end.
     */
    private function move(
        #[\SensitiveParameter] array $old,
        #[\SensitiveParameter] ?string $stays,
        array $known,
        #[\SensitiveParameter] array $after,
        ?string $user,
        bool $same,
    ): ?string {
        // What the app has not changed goes over as it is, and so does what is hidden from the app.
        $d = array_diff_key($known['raw'], $known['seen'], $after);
        foreach ($after as $name => $form) {
            $d[$name] = ($known['seen'][$name] ?? null) === $form ? $known['raw'][$name] : $form;
        }
        // Keys that only others can read are reason enough to go on with a session, but not with a logged-out user's.
        if (!$after && !($old && $user === null && $same && $d)) {
            array_map([$this, 'kill'], $old);
            $this->dropCookie($old);
            return null;
        }
        if ($user !== null) {
            self::checkUser($user);
        }
        if (headers_sent()) {
            throw self::error('the answer began before the session was saved: its cookie cannot be sent', 500);
        }
        if (in_array(PHP_SAPI, self::NO_COOKIES, true)) {
            throw self::error('a new session needs a cookie, and the SAPI "' . PHP_SAPI . '" cannot send one', 500);
        }
        $token = $this->create($user, $d);
        try {
            foreach ($old as $one) {
                // Why not after a retry: the first request may have killed it, and only its answer was lost.
                if (!$this->kill($one) && $same && !$this->service->retried) {
                    throw self::error('the session has ended while this request was served', 409);
                }
            }
            // Why only now: a logout of the user that comes later ends the new session, too.
            if ($stays !== null && !$this->get($stays)[1]) {
                throw self::error('the session has ended while this request was served', 409);
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
        // An id of its own for each: the service keeps an index by id.
        $id = $user === null ? self::ANONYMOUS . ':' . bin2hex(random_bytes(8)) : self::segment($user);
        $query = 'ip=' . rawurlencode(self::ip()) . '&ttl=' . (int) ini_get('session.gc_maxlifetime');
        $token = $this->ask('PUT', "create/$id?$query", self::object($d))['token'] ?? null;
        if (!is_string($token) || !preg_match(self::TOKEN, $token)) {
            throw self::error('an answer without a token', 503);
        }
        return $token;
    }

    private function kill(#[\SensitiveParameter] string $token): bool
    {
        return ($this->ask('DELETE', "kill/$token")['kill'] ?? 0) === 1;
    }

    /** Kills what session_regenerate_id(true) has left, if nothing was saved after it. */
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

    /** The lines of the answer's head that set our cookie. */
    private function cookieLines(): array
    {
        $start = "Set-Cookie: $this->name=";
        return array_filter(headers_list(), static fn(string $line): bool => str_starts_with($line, $start));
    }

    private static function cookieValue(#[\SensitiveParameter] string $line): string
    {
        return explode(';', explode('=', $line, 2)[1])[0];
    }

    /** Takes back the cookie that this request has set: all, or only those of some tokens. */
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
     * The size at which PHP hands over what our buffer holds. An app's buffer with a callback that lies above ours keeps
     * us from taking ours away, so its size decides when a stream gets through, and how much memory a download takes.
     *
     * Without a buffer below, the app expects none: it reads none, and what it flushes has to get through. With one, it
     * may read what it has written, and expects a stream to get through only where the one below has a size.
     */
    private static function piece(): int
    {
        return match (true) {
            ob_get_level() === 0 => 1,
            ob_get_status()['chunk_size'] > 0 => 1 << 20,
            default => 0,
        };
    }

    /**
     * Our output buffer has a piece, or is emptied: by the app, by the end of the request, or by release(). If the
     * session is still open when it is emptied, it is saved first: the answer's head goes out now, or with what the app
     * writes next.
     */
    private function output(string $output, int $phase): string
    {
        if ($phase & PHP_OUTPUT_HANDLER_FINAL) {
            $this->level = 0;
        }
        $emptied = $phase & (PHP_OUTPUT_HANDLER_FLUSH | PHP_OUTPUT_HANDLER_FINAL);
        if (!$emptied && !$this->through && !($phase & PHP_OUTPUT_HANDLER_CLEAN)) {
            $this->held .= $output;
            return '';
        }
        [$output, $this->held] = [$this->held . $output, ''];
        if (!$emptied || $this->ending || $this->open === null || !isset($_SESSION) || !is_array($_SESSION)) {
            return $output; // to nowhere if the app throws it away
        }
        try {
            $this->save($this->open, $_SESSION);
            return $output;
        } catch (Throwable $error) {
            $this->failed = $error;
            error_log($error->getMessage());
            $this->spoil($error, true);
            return '';
        }
    }

    /** Gives out what is held back. What the app writes from now on goes its usual way. */
    private function release(): void
    {
        if ($this->level === 0) {
            return;
        }
        // Buffers that the app has opened above ours are lifted and put back.
        $above = [];
        while (ob_get_level() > $this->level && ob_get_status()['name'] === 'default output handler') {
            $size = ob_get_status()['chunk_size'];
            $above[] = [ob_get_clean(), $size];
        }
        $this->through = true;
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

    /** Makes the answer an error if something fails, also after the app has written it. */
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
            $this->spoil($error, $saving);
            throw $error;
        }
    }

    /** Sets the status of an error. After a failed save, the app's headers belong to an answer that is not sent. */
    private function spoil(Throwable $error, bool $saving): void
    {
        if (headers_sent()) {
            return;
        }
        if ($saving) {
            $cookies = $this->cookieLines(); // of a session that an earlier save of this request has stored
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
        return is_array($answer) ? $answer : throw self::error('an answer that is no object', 503);
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
            // Why: a proxy's own page may show the path, which holds a token.
            $said = self::printable(preg_replace('/[A-Za-z0-9]{20,}/', '...', $said), 200);
            throw self::error("status $status$said", in_array($status, [429, 502, 503, 504], true) ? 503 : 500);
        }
        return $text;
    }

    /** The entries for what the app has, by name: [key, JSON text]. Scalars as they are, others as JSON text. */
    private static function encode(#[\SensitiveParameter] array $session): array
    {
        $forms = [];
        foreach ($session as $name => $value) {
            $name = (string) $name;
            if (self::holdsObject($value)) {
                $shown = self::printable($name);
                throw self::error("\$_SESSION['$shown'] holds an object, which JSON cannot hold", 500);
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
            self::json($name); // refuses a name that is no text
            return [$name, self::json($value)];
        }
        return [self::NESTED . $name, self::json(self::json($value))];
    }

    private static function holdsObject(#[\SensitiveParameter] mixed $value, int $level = 0): bool
    {
        if (!is_array($value) || $level > 512) { // deeper is refused by json()
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
     * By name, the entries that make $after of $before: [key, JSON text]. Each key goes with its other form, so that no
     * two requests can leave both.
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

    /** The user whose session it is, or null for an anonymous visitor. */
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
            throw self::error('the ids "" and "anonymous", and what begins with "anonymous:", are no users', 500);
        }
    }

    /** An id as a part of a path. Dots alone would be steps within the path to proxies. */
    private static function segment(string $id): string
    {
        return in_array($id, ['.', '..'], true) ? str_replace('.', '%2E', $id) : rawurlencode($id);
    }

    /** The visitor's address. Some servers and proxies put a port behind it, or words in its place. */
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

    /** What runs one request after another, and may run several at once. */
    private static function strand(): array
    {
        return [
            getmypid(),
            class_exists('Fiber', false) ? Fiber::getCurrent() : null,
            class_exists('Swoole\Coroutine', false) ? Swoole\Coroutine::getCid() : null,
        ];
    }

    /** Whether PHP calls us from session_regenerate_id(), which goes on with the session under another id. */
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

    /**
     * A JSON object of entries [key, JSON text]. Not by way of a PHP object, which drops keys that begin with NUL.
     */
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
        // An integer beyond 64 bits keeps its digits, as a string.
        return json_decode($text, true, 512, JSON_THROW_ON_ERROR | JSON_BIGINT_AS_STRING);
    }

    /** Floats keep all their digits, whatever serialize_precision says. */
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

    /** A text that somebody else chose, on one line and cut. */
    private static function printable(string $text, int $length = 80): string
    {
        return addcslashes(substr($text, 0, $length), "\0..\37\177");
    }

    private static function error(string $message, int $status): RestSessionException
    {
        return RestSessionException::of($message, $status);
    }
}

/** There was no answer, or an error. The code is the HTTP status for the visitor; no message holds a token. */
final class RestSessionException extends RuntimeException
{
    public function __construct(string $message, int $status)
    {
        parent::__construct("rest-sessions: $message", $status);
    }

    /** One whose trace holds no arguments: PHP before 8.2 knows no #[SensitiveParameter]. */
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
 * An HTTP connection to the service, kept open between the calls of one process. Not PHP's http wrapper, which
 * allow_url_fopen=0 switches off, which counts its timeout anew with each read, and whose warnings show the URL.
 *
 * Invariant: the connection is out of $stream while a call uses it, and comes back only after a complete answer.
 */
final class RestSessionConnection
{
    private const SECONDS = 5.0; // for a whole call: every address, TLS, the retry, and the answer to its end
    private const PATIENCE = 2.0; // with a connection that was open before, where the request can be repeated
    private const IDLE = 15.0; // a proxy may drop a connection silently that is idle for longer
    private const HEAD = 65536;
    private const BODY = 16777216;

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

    /** @return array{0: int, 1: string} status and body */
    public function ask(
        string $method,
        #[\SensitiveParameter] string $path,
        #[\SensitiveParameter] ?string $body = null,
    ): array {
        $deadline = self::now() + self::SECONDS;
        $request = "$method $this->path$path HTTP/1.1\r\n$this->head" . ($body === null ? "\r\n"
            : "Content-Type: application/json\r\nContent-Length: " . strlen($body) . "\r\n\r\n$body");
        $repeatable = in_array($method, ['GET', 'DELETE'], true);
        $this->retried = false;
        $this->sent = 0;
        $stream = $this->take();
        if ($stream !== null) {
            try {
                return $this->exchange($stream, $request, $repeatable ? self::now() + self::PATIENCE : $deadline);
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

    /** The open connection, if it is this process' own, and neither idle for long nor closed by the other side. */
    private function take()
    {
        $stream = $this->stream;
        $this->stream = null;
        if ($stream === null) {
            return null;
        }
        if ($this->pid !== getmypid()) {
            self::$foreign[] = $stream; // Why: to close it here could end it for the parent process, too.
            return null;
        }
        [$read, $write, $except] = [[$stream], null, null];
        $readable = self::quietly(static fn() => stream_select($read, $write, $except, 0, 0));
        if ($readable !== 0 || self::now() - $this->used > self::IDLE) {
            fclose($stream);
            return null;
        }
        return $stream;
    }

    /** Tries all addresses of the host, each for a share of the time that is left. */
    private function connect(float $deadline)
    {
        $this->reason = 'no time was left';
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
        $this->reason = 'TLS: no answer';
        $note = function (int $level, string $message): bool {
            $this->reason = 'TLS: ' . preg_replace('/\s+/', ' ', substr($message, strrpos($message, '(): ') + 4, 300));
            return true;
        };
        do {
            set_error_handler($note);
            try {
                $done = stream_socket_enable_crypto($stream, true, STREAM_CRYPTO_METHOD_TLS_CLIENT);
            } finally {
                restore_error_handler();
            }
        } while ($done === 0 && self::wait($stream, $end));
        return $done === true;
    }

    /** @return iterable<array{0: string, 1: bool}> addresses, and whether it is the last */
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
        yield [$this->host, true]; // with what the system's own look-up knows besides
    }

    /** @return array{0: int, 1: string} */
    private function exchange($stream, #[\SensitiveParameter] string $request, float $deadline): array
    {
        $keep = false;
        $answer = self::quietly(function () use ($stream, $request, $deadline, &$keep): array {
            $this->send($stream, $request, $deadline);
            return $this->receive($stream, $deadline, $keep);
        });
        // Why not with TLS where processes fork: a child that ends would tell the other side that the parent is done.
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
                if (strlen($data) > self::HEAD || !$this->more($stream, $data, $deadline)) {
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
            if (!preg_match('/\A\d{1,9}\z/', $lengths[0]) || (int) $lengths[0] > self::BODY) {
                throw $this->broken();
            }
            $body = $this->bytes($stream, $data, (int) $lengths[0], $deadline);
        } else {
            $keep = false;
            while (strlen($data) <= self::BODY && $this->more($stream, $data, $deadline));
            [$body, $data] = [$data, ''];
        }
        if (strlen($body) > self::BODY) {
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
            if (strlen($body) + $size > self::BODY) {
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
            if (strlen($data) > self::HEAD || !$this->more($stream, $data, $deadline)) {
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

    /** Appends what has come. False at the end of the stream; an exception at the deadline. */
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
                throw RestSessionException::of("no answer from $this->host:$this->port in time", 503);
            }
        }
    }

    /** Waits until the stream is ready. False at the deadline. A signal only interrupts the wait. */
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
        return RestSessionException::of("no complete answer from $this->host:$this->port", 503);
    }

    /** Without PHP's warnings: an app may make exceptions of them. */
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
