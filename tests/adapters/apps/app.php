<?php // The test app in PHP. All apps here have the same routes; check.py describes them.

require 'RestSessionHandler.php';

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$body = json_decode(file_get_contents('php://input') ?: 'null', true);
header('Content-Type: application/json');

function answer(array $data): void
{
    echo json_encode((object) $data, JSON_PRESERVE_ZERO_FRACTION);
}

if ($path === '/plain') {
    answer([]);
    return;
}
if ($path === '/everywhere') {
    answer(['kill' => RestSessionHandler::logoutEverywhere($body['user'])]);
    return;
}

RestSessionHandler::start();

switch ($path) {
    case '/read':
        answer($_SESSION);
        break;
    case '/write':
        if (isset($body['hold'])) {
            touch("{$body['hold']}.waiting");
            while (!file_exists($body['hold'])) {
                usleep(20000);
                clearstatcache();
            }
        }
        foreach ($body['set'] ?? [] as $key => $value) {
            $_SESSION[$key] = $value;
        }
        foreach ($body['remove'] ?? [] as $key) {
            unset($_SESSION[$key]);
        }
        answer($_SESSION);
        break;
    case '/push':
        $_SESSION['cart']['items'][] = $body['item'];
        answer($_SESSION);
        break;
    case '/bad':
        $_SESSION['fine'] = 1;
        $_SESSION['bad'] = ['object' => new DateTime(), 'nan' => NAN][$body['kind']];
        answer([]);
        break;
    case '/login':
        session_regenerate_id(true);
        $_SESSION['user_id'] = $body['user'];
        answer(['user' => $body['user']]);
        break;
    case '/logout':
        session_destroy();
        answer([]);
        break;
    case '/twice':
        $_SESSION['first'] = 1;
        session_write_close();
        session_start();
        $_SESSION['second'] = 2;
        answer($_SESSION);
        break;
}
