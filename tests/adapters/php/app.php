<?php // The app of php_checks.py: one route for each way in which apps use PHP's sessions.

require 'RestSessionHandler.php';

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$start = static fn(array $options = []): bool => RestSessionHandler::start(($_GET['options'] ?? []) + $options);
$show = static function (): void {
    echo json_encode((object) $_SESSION, JSON_PRESERVE_ZERO_FRACTION | JSON_PARTIAL_OUTPUT_ON_ERROR);
};
if (isset($_GET['address'])) {
    $_SERVER['REMOTE_ADDR'] = $_GET['address'];
}

switch ($path) {
    case '/plain':
        echo 'plain';
        break;
    case '/read':
        $start();
        $show();
        break;
    case '/set': // ?set=JSON
        $start();
        $_SESSION = json_decode($_GET['set'], true, 4096) + $_SESSION;
        $show();
        break;
    case '/logout':
        $start();
        session_destroy();
        break;
    case '/settings': // the app sets options before start()
        session_set_cookie_params(['lifetime' => 3600, 'path' => '/shop', 'domain' => 'example.com', 'samesite' => 'Strict']);
        $start();
        $_SESSION['a'] = 1;
        break;
    case '/regenerate': // ?old=1
        $start();
        $_SESSION['n'] = 1;
        session_regenerate_id((bool) ($_GET['old'] ?? 0));
        $_SESSION['n'] = 2;
        $show();
        break;
    case '/renew': // ?old=0: each session_regenerate_id() of the list, after a concurrent logout
        $start();
        RestSessionHandler::logoutEverywhere($_SESSION['user_id']);
        foreach (explode(',', $_GET['old']) as $old) {
            session_regenerate_id((bool) $old);
        }
        break;
    case '/login':
        $start();
        session_regenerate_id((bool) ($_GET['old'] ?? 0));
        $_SESSION['user_id'] = $_GET['user'];
        if (isset($_GET['hold'])) {
            touch("{$_GET['hold']}.waiting");
            while (!file_exists($_GET['hold'])) {
                usleep(20000);
                clearstatcache();
            }
        }
        $show();
        break;
    case '/regenerate-abort':
        $start();
        session_regenerate_id(true);
        session_abort();
        break;
    case '/abort':
        $start();
        $_SESSION['lost'] = 1;
        session_abort();
        session_start();
        $show();
        break;
    case '/reset':
        $start();
        $_SESSION['lost'] = 1;
        session_reset();
        $show();
        break;
    case '/unset':
        $start();
        session_unset();
        break;
    case '/variable': // a common mistake: PHP then stores nothing
        $start();
        unset($_SESSION);
        break;
    case '/read-and-close':
        $start(['read_and_close' => true]);
        $show();
        $_SESSION['lost'] = 1;
        break;
    case '/again': // several sessions in one request
        $start();
        $_SESSION['first'] = 1;
        $id = session_id();
        session_write_close();
        $start();
        $_SESSION['second'] = 2;
        session_write_close();
        session_id($id);
        session_start();
        $_SESSION['third'] = 3;
        $show();
        break;
    case '/destroyed': // and started again
        $start();
        $_SESSION['first'] = 1;
        session_write_close();
        session_start();
        session_destroy();
        session_start();
        $_SESSION['second'] = 2;
        break;
    case '/chosen': // an id from elsewhere
        session_id($_GET['id']);
        $start();
        $_SESSION['n'] = 1;
        $show();
        break;
    case '/created': // the way of PHP's manual
        $start();
        $new = session_create_id('shop-');
        session_commit();
        session_id($new);
        session_start();
        $_SESSION['n'] = 1;
        break;
    case '/early': // a write after the response has started
        $start();
        $_SESSION['before'] = 1;
        echo str_repeat('x', 100);
        while (ob_get_level() > 0) {
            ob_end_flush();
        }
        flush();
        $_SESSION['after'] = 2;
        break;
    case '/late': // the first write after the response has started
        $start();
        echo 'begun';
        while (ob_get_level() > 0) {
            ob_end_flush();
        }
        flush();
        $_SESSION['after'] = 2;
        break;
    case '/emptied': // the app discards its output and continues
        $start();
        $_SESSION['before'] = 1;
        echo 'rubbish';
        while (ob_get_level() > 0) {
            ob_end_clean();
        }
        echo str_repeat('page', (int) $_GET['pages']);
        break;
    case '/cleaned': // the app discards its output but keeps the buffers; ?level=1: with its own buffer below ours
        if (isset($_GET['level'])) {
            ob_start();
        }
        $start();
        $_SESSION['n'] = 1;
        echo 'rubbish';
        ob_clean();
        echo 'read ';
        $read = isset($_GET['level']) ? ob_get_clean() : '';
        echo $read, 'page';
        break;
    case '/shutdown': // shutdown functions
        $start();
        register_shutdown_function(static function (): void {
            $_SESSION['in_shutdown'] = 1;
        });
        break;
    case '/throw':
        $start();
        $_SESSION['n'] = 1;
        throw new Exception('boom');
    case '/fatal':
        $start();
        $_SESSION['n'] = 1;
        undefined_function();
    case '/exit':
        $start();
        $_SESSION['n'] = 1;
        exit('bye');
    case '/headers': // headers of a response that becomes an error
        $start();
        header('Location: /elsewhere');
        header('Content-Length: 5');
        header('X-App: 1');
        $_SESSION['bad'] = new DateTime();
        echo 'hello';
        break;
    case '/caught': // the app continues after the exception
        try {
            $start();
        } catch (RestSessionException) {
        }
        $_SESSION['secret'] = 'into no file';
        break;
    case '/foreign': // a PHP session is already active
        session_start();
        try {
            $start();
        } catch (RestSessionException $error) {
            $caught = $error;
        }
        $_SESSION['secret'] = 'into no file';
        throw $caught ?? new Exception('no error');
    case '/link':
        $start();
        $_SESSION['n'] = 1;
        echo '<a href="/read">link</a><form action="/read"></form>', '<i>', defined('SID') ? SID : '', '</i>';
        break;
    case '/buffers': // the app's own, below and above ours
        $before = ob_get_level();
        ob_start();
        echo 'a';
        $start();
        echo 'b';
        ob_start();
        echo 'c';
        session_write_close();
        echo 'd';
        $inner = ob_get_clean();
        $outer = ob_get_clean();
        echo json_encode([$outer, $inner, ob_get_level() - $before]);
        break;
    case '/download':
        $start();
        if (isset($_GET['own'])) {
            ob_start($_GET['own'] === 'callback' ? static fn(string $text): string => $text : null);
        }
        session_write_close();
        if (isset($_GET['own']) && $_GET['own'] !== 'callback') {
            ob_end_flush();
        }
        $file = fopen($_GET['file'], 'r');
        while (!feof($file)) {
            echo fread($file, 65536);
            if (ob_get_level() > 0) {
                ob_flush();
            }
        }
        break;
    case '/events': // each event waits for a file of the test; ?own=1: the app's buffer with a callback stays
        $start();
        echo ': begin ';
        if (isset($_GET['own'])) {
            ob_start(static fn(string $text): string => strtoupper($text));
        }
        session_write_close();
        for ($i = 0; $i < 3; $i++) {
            echo "data: $i\n\n";
            if (ob_get_level() > 0) {
                ob_flush();
            }
            flush();
            while (!file_exists("{$_GET['gate']}.$i")) {
                usleep(20000);
                clearstatcache();
            }
        }
        break;
    case '/slow': // runs until the client has disconnected
        $start();
        touch("{$_GET['gate']}.waiting");
        while (!file_exists($_GET['gate'])) {
            usleep(20000);
            clearstatcache();
        }
        $_SESSION['n'] = 1;
        echo str_repeat('x', 1000000);
        break;
    case '/values':
        $start();
        $deep = [];
        for ($i = 1; $i < (int) ($_GET['levels'] ?? 1); $i++) {
            $deep = [$deep];
        }
        $_SESSION['bad'] = ['object' => new stdClass(), 'nested object' => [1, ['x' => new ArrayObject()]], 'nan' => NAN,
            'infinite' => [INF], 'text' => "\xff", 'nested text' => ["\xff"], 'resource' => fopen('php://memory', 'r'),
            'deep' => $deep][$_GET['kind']];
        break;
    case '/recursive':
        $start();
        $_SESSION['bad'] = [1];
        $_SESSION['bad'][] = &$_SESSION['bad'];
        break;
    case '/everywhere':
        echo RestSessionHandler::logoutEverywhere($_GET['user']);
        break;
}
