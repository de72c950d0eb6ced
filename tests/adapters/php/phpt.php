<?php

/**
 * Runs the tests of PHP's own session extension with RestSessionHandler instead of PHP's files.
 *
 *     php phpt.php FOLDER URL      FOLDER  ext/session/tests of PHP's source
 *                                  URL     a rest-sessions with an empty store
 *
 * Replaces session_start() in the tests by RestSessionHandler::start(). excused.txt lists the tests that
 * cannot pass with it, each with its reason. An unlisted test that fails fails the run; so does a listed
 * test that passes, and a listed test that does not exist.
 */

declare(strict_types=1);

[, $folder, $url] = $argv + [1 => '', 2 => ''];
$only = $argv[3] ?? null;
$here = __DIR__;
$work = sys_get_temp_dir() . '/phpt-' . getmypid();
mkdir($work);
register_shutdown_function(static fn() => exec('rm -rf ' . escapeshellarg($work)));

function sections(string $text): array
{
    $parts = preg_split('/^--([A-Z_]+)--\r?\n/m', $text, -1, PREG_SPLIT_DELIM_CAPTURE);
    $sections = [];
    for ($i = 1; $i < count($parts); $i += 2) {
        $sections[$parts[$i]] = $parts[$i + 1];
    }
    return $sections;
}

/** Returns the test's code with the calls of session_start() replaced. Strings and method names stay unchanged. */
function adapted(string $code): string
{
    $tokens = PhpToken::tokenize($code);
    $adapted = '';
    $before = '';
    foreach ($tokens as $token) {
        $call = $token->is(T_STRING) && strtolower($token->text) === 'session_start'
            && !in_array($before, ['->', '::', 'function'], true);
        $adapted .= $call ? 'rest_session_start' : $token->text;
        if (!$token->isIgnorable()) {
            $before = $token->text;
        }
    }
    return $adapted;
}

/** Converts an EXPECTF section to a regular expression. */
function pattern(string $expected): string
{
    $places = ['%s' => '[^\r\n]+', '%S' => '[^\r\n]*', '%a' => '.+', '%A' => '.*', '%w' => '\s*', '%i' => '[+-]?\d+',
        '%d' => '\d+', '%x' => '[0-9a-fA-F]+', '%f' => '[+-]?\.?\d+\.?\d*(?:[Ee][+-]?\d+)?', '%c' => '.', '%e' => '/'];
    $parts = preg_split('/(%[sSaAwidxfce]|%r.*?%r)/s', $expected, -1, PREG_SPLIT_DELIM_CAPTURE);
    $pattern = '';
    foreach ($parts as $part) {
        $pattern .= $places[$part] ?? (preg_match('/\A%r(.*)%r\z/s', $part, $raw) ? "(?:$raw[1])" : preg_quote($part, '~'));
    }
    return "~\\A$pattern\\z~s";
}

/** Runs php-cgi. Returns the body, the headers and the standard error. */
function run(array $settings, string $file, array $sections, string $work, string $url): array
{
    $flags = [];
    foreach ($settings as $key => $value) {
        array_push($flags, '-d', "$key=$value");
    }
    $body = isset($sections['POST_RAW']) ? preg_replace('/\AContent-Type: [^\n]*\n/', '', $sections['POST_RAW']) : '';
    $environment = [
        'PATH' => getenv('PATH'),
        'REST_SESSIONS_URL' => $url,
        'REST_SESSIONS_APP' => 'phpt',
        'REDIRECT_STATUS' => '1',
        'SCRIPT_FILENAME' => $file,
        'REQUEST_METHOD' => isset($sections['POST_RAW']) ? 'POST' : 'GET',
        'REQUEST_URI' => '/' . basename($file),
        'QUERY_STRING' => trim($sections['GET'] ?? ''),
        'REMOTE_ADDR' => '127.0.0.1',
    ];
    if (isset($sections['COOKIE'])) {
        $environment['HTTP_COOKIE'] = trim($sections['COOKIE']);
    }
    if (preg_match('/\AContent-Type: ([^\n]*)\n/', $sections['POST_RAW'] ?? '', $type)) {
        $environment += ['CONTENT_TYPE' => trim($type[1]), 'CONTENT_LENGTH' => (string) strlen($body)];
    }
    file_put_contents("$work/body", $body);
    $pipes = [['file', "$work/body", 'r'], ['file', "$work/out", 'w'], ['file', "$work/errors", 'w']];
    $process = proc_open(['timeout', '60', 'php-cgi', '-n', ...$flags], $pipes, $none, dirname($file), $environment);
    proc_close($process);
    $answer = explode("\r\n\r\n", file_get_contents("$work/out"), 2) + [1 => ''];
    return [$answer[1], $answer[0], file_get_contents("$work/errors")];
}

$excused = [];
foreach (file("$here/excused.txt", FILE_IGNORE_NEW_LINES | FILE_SKIP_EMPTY_LINES) as $line) {
    if ($line[0] === '=') {
        $reason = substr($line, 2);
    } elseif ($line[0] !== '#') {
        $excused += array_fill_keys(explode(' ', $line), $reason);
    }
}
$files = glob("$folder/*.phpt");
$names = array_map(static fn(string $file): string => basename($file, '.phpt'), $files);
$problems = [];
foreach (array_diff(array_map('strval', array_keys($excused)), $names) as $name) {
    $problems[] = "$name is excused, but there is no such test";
}
$passed = $missed = 0;
foreach ($files as $file) {
    $name = basename($file, '.phpt');
    if ($only !== null && $name !== $only) {
        continue;
    }
    // Each test gets its own folder, because tests include neighbouring files and some write there.
    $place = "$work/$name";
    mkdir($place);
    foreach (glob("$folder/*.inc") as $include) {
        file_put_contents("$place/" . basename($include), adapted(file_get_contents($include)));
    }
    $sections = sections(file_get_contents($file));
    file_put_contents("$place/$name.php", adapted($sections['FILE']));
    $settings = [
        'output_buffering' => '0',
        'display_errors' => '1',
        'html_errors' => '0',
        'log_errors' => '0',
        'error_reporting' => '32767',
        'auto_prepend_file' => "$here/prepend.php",
    ];
    foreach (preg_split('/\R/', str_replace('{PWD}', $place, $sections['INI'] ?? ''), -1, PREG_SPLIT_NO_EMPTY) as $line) {
        if (str_contains($line, '=')) {
            [$key, $value] = array_map('trim', explode('=', $line, 2));
            $settings[$key] = trim($value, '"');
        }
    }
    $settings['session.use_cookies'] = '1'; // start() refuses 0, which many tests set only to keep their output short
    [$output, $head, $errors] = run($settings, "$place/$name.php", $sections, $work, $url);
    $output = trim(str_replace("\r\n", "\n", $output));
    $expected = trim(str_replace("\r\n", "\n", $sections['EXPECTF'] ?? $sections['EXPECT'] ?? ''));
    $good = isset($sections['EXPECTF']) ? preg_match(pattern($expected), $output) === 1 : $output === $expected;
    if (isset($sections['EXPECTHEADERS'])) {
        foreach (preg_split('/\R/', $sections['EXPECTHEADERS'], -1, PREG_SPLIT_NO_EMPTY) as $line) {
            $good = $good && stripos($head, trim($line)) !== false;
        }
    }
    if ($only !== null) {
        echo "--- head\n$head\n--- output\n$output\n--- errors\n$errors\n--- expected\n$expected\n";
    }
    if ($good) {
        $passed++;
    } else {
        $missed++;
    }
    if ($good === isset($excused[$name])) {
        $problems[] = $good ? "$name is excused ($excused[$name]), but it passes"
            : "$name fails: " . json_encode(substr($output, 0, 300), JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE);
    }
}
foreach ($problems as $problem) {
    echo "FAIL PHP's own tests: $problem\n";
}
echo "PHP's own session tests: $passed pass, $missed are excused or fail, ", count($problems), " problems\n";
exit($problems || $passed === 0 ? 1 : 0);
