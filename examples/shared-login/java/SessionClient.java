import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.math.BigDecimal;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ProtocolException;
import java.net.SocketTimeoutException;
import java.net.StandardSocketOptions;
import java.net.URI;
import java.net.URLEncoder;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;

/**
 * A client for rest-sessions in one file that you can copy. Java 17 or newer, standard library only.
 *
 * <pre>{@code
 * var sessions = new SessionClient("http://127.0.0.1:3000", "shop");
 * String token = sessions.create("ann", "203.0.113.7", Map.of("name", "Ann"));
 * Optional<SessionClient.Session> session = sessions.get(token); // empty: there is no such session
 * }</pre>
 *
 * One object serves all threads and reuses its connections. Every call ends within 5 s. Why not java.net.http: its
 * timeout ends with the head of the response, it tries only one address of a name, and it cannot tell whether a request
 * was sent.
 */
public final class SessionClient {
    /** The service or its store is unreachable or too slow. Respond with 503; the sessions still exist. */
    public static final class Outage extends RuntimeException {
        Outage(String message) {
            super(message);
        }

        Outage(String message, Throwable cause) {
            super(message, cause);
        }
    }

    /** The service rejected the request. {@code code} is the stable name of the error, as in openapi.yaml. */
    public static final class Refused extends RuntimeException {
        public final String code;

        Refused(String code, String message) {
            super(code + ": " + message);
            this.code = code;
        }
    }

    /**
     * A session. The values of {@code data} are strings, booleans and numbers: Long if it can hold the number, else
     * BigDecimal, so that no number is rounded. Numbers of more than 1000 characters are omitted.
     */
    public record Session(String id, String ip, long reads, long writes, long ttl, long idle,
            Map<String, Object> data) {
        @SuppressWarnings("unchecked")
        private static Optional<Session> of(Map<String, Object> answer) {
            if (answer.isEmpty()) {
                return Optional.empty();
            }
            return Optional.of(new Session((String) answer.get("id"), (String) answer.get("ip"),
                    (long) answer.get("r"), (long) answer.get("w"), (long) answer.get("ttl"), (long) answer.get("idle"),
                    (Map<String, Object>) answer.getOrDefault("d", Map.of())));
        }
    }

    private static final Pattern TOKEN = Pattern.compile("[A-Za-z0-9]{64}");

    private final Http http;
    private final String base;

    public SessionClient(String url, String app) {
        http = new Http(url);
        base = "/" + app + "/";
    }

    /** Creates a session and returns its token, a secret for the visitor's cookie. */
    public String create(String id, String ip, Map<String, ?> data) {
        return create(id, ip, data, null);
    }

    /** Creates a session with a ttl; null means the default of the service. */
    public String create(String id, String ip, Map<String, ?> data, Duration ttl) {
        var query = "?ip=" + encode(address(ip)) + (ttl == null ? "" : "&ttl=" + ttl.toSeconds());
        return (String) ask("PUT", "create/" + encode(id) + query, data).get("token");
    }

    /** Returns the session, if there is one. */
    public Optional<Session> get(String token) {
        return isToken(token) ? Session.of(ask("GET", "get/" + token, null)) : Optional.empty();
    }

    /** Adds and replaces keys of the data; null removes a key. Returns the changed session, if there is one. */
    public Optional<Session> set(String token, Map<String, ?> changes) {
        return isToken(token) ? Session.of(ask("POST", "set/" + token, changes)) : Optional.empty();
    }

    /** Ends the session. Returns whether there was one. */
    public boolean kill(String token) {
        return isToken(token) && (long) ask("DELETE", "kill/" + token, null).get("kill") == 1;
    }

    /** Returns all sessions of an id, the most recently used first. */
    @SuppressWarnings("unchecked")
    public List<Session> soid(String id) {
        var list = (List<Map<String, Object>>) ask("GET", "soid/" + encode(id), null).get("sessions");
        return list.stream().map(Session::of).flatMap(Optional::stream).toList();
    }

    /** Ends all sessions of an id. Returns how many there were. */
    public long killsoid(String id) {
        return (long) ask("DELETE", "killsoid/" + encode(id), null).get("kill");
    }

    /** Whether a text has the form of a token. Why: a cookie is untrusted input and must not get into a path. */
    public static boolean isToken(String text) {
        return text != null && TOKEN.matcher(text).matches();
    }

    /** Encodes a path segment. Escapes `.` and `..` too, which proxies would resolve. */
    private static String encode(String text) {
        if (text.codePoints().anyMatch(c -> c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE)) {
            throw new IllegalArgumentException("lone surrogate"); // it would become "?", another user's id
        }
        var encoded = URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20"); // + is a space in forms only
        return encoded.equals(".") || encoded.equals("..") ? encoded.replace(".", "%2E") : encoded;
    }

    /** Strips the port that some proxies add. Other text becomes 0.0.0.0, so that it never makes a request fail. */
    private static String address(String remote) {
        var text = remote == null ? "" : remote.strip();
        text = text.replaceFirst("^\\[([^\\]]*)\\](:\\d{1,5})?$", "$1").replaceFirst("^([0-9.]+):\\d{1,5}$", "$1");
        var octet = "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
        if (text.matches(octet + "(\\." + octet + "){3}")) {
            return text;
        }
        try {
            if (text.matches("(?=[^%]*:)[0-9A-Fa-f:][0-9A-Fa-f.:]*(%[\\w.~-]{1,64})?")) {
                var parts = text.split("%");
                var plain = InetAddress.getByName(parts[0]).getHostAddress(); // no name look-up: it has a colon
                // The service accepts up to 39 characters; Java also parses longer forms, which are shortened here.
                return text.length() <= 39 ? text
                        : parts.length > 1 && plain.contains(":") ? plain + "%" + parts[1] : plain;
            }
        } catch (UnknownHostException e) {
            // The text only looks like an address.
        }
        return "0.0.0.0";
    }

    @SuppressWarnings("unchecked")
    private Map<String, Object> ask(String method, String path, Map<String, ?> data) {
        Http.Answer response;
        try {
            var body = data == null ? null : Json.write(data).getBytes(StandardCharsets.UTF_8);
            response = http.ask(method, base + path, body, method.equals("GET") || method.equals("DELETE"));
        } catch (IOException error) {
            throw new Outage(error.getMessage(), error);
        }
        Map<String, Object> answer;
        try {
            answer = (Map<String, Object>) new Json(response.body()).read();
        } catch (IllegalArgumentException | ClassCastException error) {
            throw new Outage("status " + response.status() + " without JSON");
        }
        if (response.status() == 200) {
            return answer;
        }
        if (response.status() >= 500) {
            throw new Outage("status " + response.status() + ", " + answer.get("name"));
        }
        throw new Refused((String) answer.get("name"), (String) answer.get("message"));
    }

    /**
     * HTTP/1.1 client for one server, for many threads. One deadline bounds a whole call: name look-up, all addresses
     * of the name, TLS, sending, the complete response, and one retry. An interrupt closes the connection and leaves
     * the thread's flag set. Invariant: a connection serves one call at a time and is reused only after a complete
     * response.
     */
    static final class Http implements AutoCloseable {
        /** {@code retried}: an earlier attempt failed, so the server may have executed the request twice. */
        record Answer(int status, String body, boolean retried) {}

        private static final long DEADLINE = TimeUnit.SECONDS.toNanos(5); // the service's own, 2 s, comes first
        private static final long SILENCE = TimeUnit.SECONDS.toNanos(2); // until a reused connection counts as dead
        private static final long IDLE = TimeUnit.SECONDS.toNanos(15); // below the timeouts of servers and firewalls
        private static final int LONGEST_HEAD = 1 << 16;
        private static final int LONGEST_BODY = 1 << 24;

        private final String host;
        private final int port;
        private final boolean tls;
        private final String path;
        private final String authority;
        private final ConcurrentLinkedDeque<Connection> idle = new ConcurrentLinkedDeque<>();
        private final ScheduledThreadPoolExecutor watchdog = new ScheduledThreadPoolExecutor(1, Http::daemon);

        /** @throws IllegalArgumentException if this is not an http or https URL with a host */
        Http(String url) {
            var parsed = URI.create(url);
            tls = "https".equalsIgnoreCase(parsed.getScheme());
            var other = !tls && !"http".equalsIgnoreCase(parsed.getScheme()) || parsed.getHost() == null;
            if (other || parsed.getRawUserInfo() != null || parsed.getRawQuery() != null
                    || parsed.getRawFragment() != null) {
                throw new IllegalArgumentException("must look like http://host:port");
            }
            host = parsed.getHost().replaceAll("[\\[\\]]", "");
            port = parsed.getPort() >= 0 ? parsed.getPort() : tls ? 443 : 80;
            authority = parsed.getRawAuthority();
            path = parsed.getRawPath().replaceAll("/+$", "");
            watchdog.setRemoveOnCancelPolicy(true);
            Runnable sweep = () -> idle.removeIf(Connection::closedAsOld);
            watchdog.scheduleWithFixedDelay(sweep, IDLE, IDLE, TimeUnit.NANOSECONDS);
        }

        private static Thread daemon(Runnable work) {
            var thread = new Thread(work, "rest-sessions");
            thread.setDaemon(true);
            return thread;
        }

        @Override
        public void close() {
            watchdog.shutdownNow();
            idle.forEach(Connection::close);
        }

        /**
         * Sends one request. If a reused connection fails, retries once on a new one, provided that the request is
         * repeatable or was certainly not sent.
         */
        Answer ask(String method, String target, byte[] body, boolean repeatable) throws IOException {
            var deadline = System.nanoTime() + DEADLINE;
            var request = request(method, target, body);
            for (Connection kept; (kept = idle.pollFirst()) != null;) {
                if (!kept.usable()) {
                    kept.close();
                    continue;
                }
                try {
                    return kept.exchange(request, deadline, repeatable, false);
                } catch (IOException e) {
                    if (kept.sent && !repeatable || stop(deadline)) {
                        throw e;
                    }
                }
                return connect(deadline).exchange(request, deadline, false, kept.sent);
            }
            return connect(deadline).exchange(request, deadline, false, false);
        }

        private static boolean stop(long deadline) {
            return Thread.currentThread().isInterrupted() || deadline - System.nanoTime() <= 0;
        }

        private byte[] request(String method, String target, byte[] body) {
            var head = method + " " + path + target + " HTTP/1.1\r\nHost: " + authority + "\r\n"
                    + (body == null ? "" : "Content-Type: application/json\r\nContent-Length: " + body.length + "\r\n")
                    + "\r\n";
            var request = new ByteArrayOutputStream();
            request.writeBytes(head.getBytes(StandardCharsets.ISO_8859_1));
            request.writeBytes(body == null ? new byte[0] : body);
            return request.toByteArray();
        }

        /** Tries the addresses of the name in order. Each but the last gets half of the remaining time. */
        private Connection connect(long deadline) throws IOException {
            var failure = new ConnectException("no connection to " + authority);
            var addresses = lookup(deadline);
            for (var i = 0; i < addresses.length && !stop(deadline); i++) {
                var left = deadline - System.nanoTime();
                try {
                    return new Connection(addresses[i], i == addresses.length - 1 ? left : left / 2);
                } catch (IOException e) {
                    failure.addSuppressed(e);
                }
            }
            throw failure;
        }

        /** Runs on its own thread, because a look-up has no timeout and cannot be interrupted. */
        private InetAddress[] lookup(long deadline) throws IOException {
            var found = new CompletableFuture<InetAddress[]>();
            daemon(() -> {
                try {
                    found.complete(InetAddress.getAllByName(host));
                } catch (UnknownHostException | RuntimeException e) {
                    found.completeExceptionally(e);
                }
            }).start();
            try {
                return found.get(deadline - System.nanoTime(), TimeUnit.NANOSECONDS);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new InterruptedIOException("interrupted");
            } catch (ExecutionException e) {
                throw new IOException("no address of " + host, e.getCause());
            } catch (TimeoutException e) {
                throw new SocketTimeoutException("no address of " + host + " in time");
            }
        }

        private final class Connection {
            private final SocketChannel channel = SocketChannel.open();
            private final InputStream in;
            private final OutputStream tlsOut; // null without TLS
            private volatile boolean answered; // whether the response to the current call has started
            private volatile boolean late; // whether the watchdog has closed this connection
            private boolean sent; // whether any byte of the current call may have been sent
            private boolean keep;
            private int budget; // bytes that the rest of the head may have
            private long length; // of the body; -1: chunked, -2: until the connection ends
            private volatile long idleSince;

            Connection(InetAddress address, long patience) throws IOException {
                var alarm = watchdog.schedule(this::tooLate, patience, TimeUnit.NANOSECONDS);
                var open = false;
                try {
                    channel.connect(new InetSocketAddress(address, port));
                    channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
                    if (tls) {
                        var factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
                        var socket = (SSLSocket) factory.createSocket(channel.socket(), host, port, true);
                        var parameters = socket.getSSLParameters();
                        parameters.setEndpointIdentificationAlgorithm("HTTPS");
                        socket.setSSLParameters(parameters);
                        socket.startHandshake();
                        in = new BufferedInputStream(socket.getInputStream());
                        tlsOut = socket.getOutputStream();
                    } else {
                        in = new BufferedInputStream(channel.socket().getInputStream());
                        tlsOut = null;
                    }
                    open = true;
                } catch (IOException e) {
                    throw late ? new SocketTimeoutException("no connection in time") : e;
                } finally {
                    open &= alarm.cancel(false);
                    if (!open) {
                        close();
                    }
                }
            }

            private void tooLate() {
                late = true;
                close();
            }

            void close() {
                try {
                    channel.close();
                } catch (IOException e) {
                    // The channel is closed in any case.
                }
            }

            /** Whether the connection was not idle for too long, is still open, and has received no stray bytes. */
            boolean usable() {
                if (System.nanoTime() - idleSince > IDLE) {
                    return false;
                }
                try {
                    channel.configureBlocking(false);
                    var silent = channel.read(ByteBuffer.allocate(1)) == 0;
                    channel.configureBlocking(true);
                    return silent;
                } catch (IOException e) {
                    return false;
                }
            }

            boolean closedAsOld() {
                var old = System.nanoTime() - idleSince > IDLE;
                if (old) {
                    close(); // a call that takes it at this moment fails before it has sent anything
                }
                return old;
            }

            /** {@code impatient}: gives up if the response does not start within {@link #SILENCE}. */
            Answer exchange(byte[] request, long deadline, boolean impatient, boolean retried) throws IOException {
                sent = false;
                answered = false;
                var complete = false;
                var left = deadline - System.nanoTime();
                var alarms = new ArrayList<Future<?>>();
                try {
                    alarms.add(watchdog.schedule(this::tooLate, left, TimeUnit.NANOSECONDS));
                    if (impatient) {
                        alarms.add(watchdog.schedule(() -> {
                            if (!answered) {
                                tooLate();
                            }
                        }, SILENCE, TimeUnit.NANOSECONDS));
                    }
                    write(request);
                    var status = head();
                    while (status < 200) { // interim responses
                        status = head();
                    }
                    var answer = new Answer(status, body(status), retried);
                    complete = keep && !stray();
                    return answer;
                } catch (IOException e) {
                    throw late ? new SocketTimeoutException("no response in time") : e;
                } finally {
                    alarms.forEach(alarm -> alarm.cancel(false));
                    idleSince = System.nanoTime();
                    if (complete && !late && channel.isOpen()) {
                        idle.addFirst(this);
                    } else {
                        close();
                    }
                }
            }

            /** Whether bytes have arrived after the response. */
            private boolean stray() {
                try {
                    return in.available() > 0;
                } catch (IOException e) {
                    return true;
                }
            }

            private void write(byte[] request) throws IOException {
                if (tlsOut != null) {
                    sent = true;
                    tlsOut.write(request);
                    return;
                }
                for (var rest = ByteBuffer.wrap(request); rest.hasRemaining();) {
                    sent |= channel.write(rest) > 0;
                }
            }

            /** Reads the head of a response and returns its status. */
            private int head() throws IOException {
                budget = LONGEST_HEAD;
                var first = line();
                answered = true;
                if (!first.matches("HTTP/1\\.[01] [1-5]\\d\\d( .*)?")) {
                    throw new ProtocolException("not an HTTP response");
                }
                keep = first.startsWith("HTTP/1.1");
                length = -2;
                for (var line = line(); !line.isEmpty(); line = line()) {
                    var colon = line.indexOf(':');
                    var name = line.substring(0, Math.max(colon, 0)).toLowerCase(Locale.ROOT);
                    var value = line.substring(colon + 1).strip();
                    if (colon <= 0 || name.endsWith(" ") || name.startsWith(" ") || name.startsWith("\t")) {
                        throw new ProtocolException("invalid header line");
                    } else if (name.equals("connection")) {
                        keep &= !value.toLowerCase(Locale.ROOT).contains("close");
                    } else if (name.equals("transfer-encoding")) {
                        length = framed(value.equalsIgnoreCase("chunked") ? -1 : -3);
                    } else if (name.equals("content-length")) {
                        length = framed(value.matches("\\d{1,9}") ? Long.parseLong(value) : -3);
                    }
                }
                return Integer.parseInt(first.substring(9, 12));
            }

            private long framed(long by) throws IOException {
                if (by == -3 || length != -2 && length != by) {
                    throw new ProtocolException("ambiguous length of the response");
                }
                return by;
            }

            private String body(int status) throws IOException {
                if (status == 204 || status == 304) {
                    return "";
                }
                var body = new ByteArrayOutputStream();
                if (length == -1) {
                    for (var size = chunk(); size > 0; size = chunk()) {
                        read(size, body);
                        if (!line().isEmpty()) {
                            throw new ProtocolException("a chunk is longer than declared");
                        }
                    }
                    while (!line().isEmpty()) { // trailers
                        continue;
                    }
                } else if (length == -2) {
                    keep = false;
                    body.writeBytes(in.readNBytes(LONGEST_BODY + 1));
                    read(0, body);
                } else {
                    read(length, body);
                }
                return body.toString(StandardCharsets.UTF_8);
            }

            private long chunk() throws IOException {
                budget = LONGEST_HEAD;
                var size = line().split(";", 2)[0].strip();
                if (!size.matches("[0-9A-Fa-f]{1,8}")) {
                    throw new ProtocolException("invalid chunk size");
                }
                return Long.parseLong(size, 16);
            }

            private void read(long size, ByteArrayOutputStream body) throws IOException {
                if (body.size() + size > LONGEST_BODY) {
                    throw new IOException("the response is too large");
                }
                var bytes = in.readNBytes((int) size);
                if (bytes.length < size) {
                    throw new EOFException("the response is incomplete");
                }
                body.writeBytes(bytes);
            }

            private String line() throws IOException {
                var line = new StringBuilder();
                for (int c = in.read(); c != '\n'; c = in.read()) {
                    if (c < 0) {
                        throw new EOFException("the response is incomplete");
                    } else if (--budget < 0) {
                        throw new ProtocolException("the head of the response is too large");
                    }
                    answered = true;
                    line.append((char) c);
                }
                var end = line.length() - 1;
                return end >= 0 && line.charAt(end) == '\r' ? line.substring(0, end) : line.toString();
            }
        }
    }

    /** The subset of JSON that the service uses: reads any response, writes flat objects. */
    private static final class Json {
        private static final char END = 0;
        private static final int DEEPEST = 100; // levels; responses of the service have three
        private static final int LONGEST_NUMBER = 1000; // characters: parsing takes quadratic time
        private static final Object OMITTED = new Object();
        private static final Pattern WORD = Pattern.compile("[-+.0-9A-Za-z]+");

        private final String text;
        private int at = 0;
        private int level = 0;

        Json(String text) {
            this.text = text;
        }

        static String write(Map<String, ?> object) {
            return object.entrySet().stream()
                    .map(entry -> quote(entry.getKey()) + ":" + writeValue(entry.getValue()))
                    .collect(Collectors.joining(",", "{", "}"));
        }

        private static String writeValue(Object value) {
            if (value instanceof String string) {
                return quote(string);
            }
            if (value == null || value instanceof Boolean || value instanceof Number) {
                return String.valueOf(value);
            }
            throw new IllegalArgumentException("only strings, numbers, booleans and null are allowed");
        }

        private static String quote(String string) {
            var quoted = new StringBuilder("\"");
            for (char c : string.toCharArray()) {
                if (c == '"' || c == '\\') {
                    quoted.append('\\').append(c);
                } else if (c < ' ') {
                    quoted.append(String.format("\\u%04x", (int) c));
                } else {
                    quoted.append(c);
                }
            }
            return quoted.append('"').toString();
        }

        /** Parses the whole text. Returns a Map, List, String, Long, BigDecimal, Boolean or null. */
        Object read() {
            var value = readValue();
            if (peek() != END) {
                throw unexpected();
            }
            return value;
        }

        private Object readValue() {
            if (++level > DEEPEST) {
                throw unexpected();
            }
            var value = switch (peek()) {
                case '{' -> readObject();
                case '[' -> readList();
                case '"' -> readString();
                default -> readWord();
            };
            level--;
            return value;
        }

        private Map<String, Object> readObject() {
            var object = new LinkedHashMap<String, Object>();
            expect('{');
            if (!skip('}')) {
                do {
                    var key = readString();
                    expect(':');
                    object.put(key, readValue());
                    object.remove(key, OMITTED);
                } while (skip(','));
                expect('}');
            }
            return object;
        }

        private List<Object> readList() {
            var list = new ArrayList<>();
            expect('[');
            if (!skip(']')) {
                do {
                    list.add(readValue());
                } while (skip(','));
                expect(']');
            }
            return list;
        }

        private String readString() {
            var string = new StringBuilder();
            expect('"');
            for (char c = next(); c != '"'; c = next()) {
                string.append(c == '\\' ? readEscape() : c);
            }
            return string.toString();
        }

        private char readEscape() {
            char c = next();
            return switch (c) {
                case '"', '\\', '/' -> c;
                case 'b' -> '\b';
                case 'f' -> '\f';
                case 'n' -> '\n';
                case 'r' -> '\r';
                case 't' -> '\t';
                case 'u' -> (char) Integer.parseInt("" + next() + next() + next() + next(), 16);
                default -> throw unexpected();
            };
        }

        private Object readWord() {
            var matcher = WORD.matcher(text).region(at, text.length());
            if (!matcher.lookingAt()) {
                throw unexpected();
            }
            at = matcher.end();
            return switch (matcher.group()) {
                case "true" -> true;
                case "false" -> false;
                case "null" -> null;
                default -> readNumber(matcher.group());
            };
        }

        private static Object readNumber(String word) {
            if (word.length() > LONGEST_NUMBER) {
                return OMITTED;
            }
            try {
                return Long.valueOf(word);
            } catch (NumberFormatException notLong) {
                return new BigDecimal(word);
            }
        }

        /** Skips whitespace and returns the next character; END at the end. */
        private char peek() {
            while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
                at++;
            }
            return at < text.length() ? text.charAt(at) : END;
        }

        private char next() {
            if (at == text.length()) {
                throw unexpected();
            }
            return text.charAt(at++);
        }

        private boolean skip(char wanted) {
            boolean found = peek() == wanted;
            at += found ? 1 : 0;
            return found;
        }

        private void expect(char wanted) {
            if (!skip(wanted)) {
                throw unexpected();
            }
        }

        /** The message has no part of the text, because that may contain a token. */
        private IllegalArgumentException unexpected() {
            return new IllegalArgumentException("not JSON at " + at);
        }
    }
}
