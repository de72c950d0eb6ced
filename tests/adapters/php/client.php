<?php

/**
 * Calls the adapter's client outside of a web server: client.php fork CHILDREN, or client.php calls COUNT [SECONDS].
 *
 * With EXAMPLE=1 it calls the client of examples/shared-login instead. Each user u1, u2, ... has a different number of
 * sessions, so that a response shows which request it belongs to.
 */

require __DIR__ . '/../../../adapters/php/RestSessionHandler.php';
require __DIR__ . '/../../../examples/shared-login/php/SessionClient.php';

[, $what, $count] = $argv;
$example = getenv('EXAMPLE') ? new SessionClient(getenv('REST_SESSIONS_URL'), 'shop') : null;
$ask = static function (int $n) use ($example): int {
    try {
        return $example ? $example->killsoid("u$n") : RestSessionHandler::logoutEverywhere("u$n");
    } catch (RestSessionException | SessionOutage $error) {
        fwrite(STDERR, "{$error->getCode()} {$error->getMessage()}\n");
        return -1;
    }
};

if ($what === 'calls') {
    $answers = [];
    for ($i = 1; $i <= (int) $count; $i++) {
        $answers[] = $ask($i);
        usleep((int) (1e6 * (float) ($argv[3] ?? 0)));
    }
    echo json_encode($answers), "\n";
    exit;
}

$ask(0); // opens the connection that the children would share
$children = [];
for ($child = 0; $child < (int) $count; $child++) {
    $pid = pcntl_fork();
    if ($pid === 0) {
        $wrong = 0;
        for ($i = 1; $i <= 25; $i++) {
            $n = 25 * $child + $i;
            $wrong += $ask($n) !== $n % 7;
        }
        exit($wrong > 0 ? 1 : 0);
    }
    $children[] = $pid;
}
$wrong = 0;
for ($i = 0; $i < 25; $i++) {
    $wrong += $ask(0) !== 0;
}
foreach ($children as $pid) {
    pcntl_waitpid($pid, $status);
    $wrong += $status !== 0;
}
echo json_encode($wrong), "\n";
