<?php

// Prepended to each of PHP's own tests. They call this function instead of session_start().

require __DIR__ . '/../../../adapters/php/RestSessionHandler.php';

function rest_session_start(array $options = []): bool
{
    return RestSessionHandler::start($options + ['cookie_secure' => 0, 'name' => session_name()]);
}
