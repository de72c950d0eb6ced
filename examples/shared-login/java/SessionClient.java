import java.math.BigDecimal;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * A client of rest-sessions in one file, to be copied. Java 17 or newer, standard library only.
 *
 * <pre>{@code
 * var sessions = new SessionClient("http://127.0.0.1:3000", "shop");
 * String token = sessions.create("ann", "203.0.113.7", Map.of("name", "Ann"));
 * Optional<SessionClient.Session> session = sessions.get(token); // empty: there is no such session
 * }</pre>
 *
 * One object serves all threads and keeps its connections. Start Java with -Djdk.httpclient.keepalive.timeout=60: less
 * than the 75 s after which the service ends idle connections, so that no request meets one that is just being ended.
 */
public final class SessionClient {
    /** The service or its store is away or too slow. Answer 503; it does not mean that anyone is logged out. */
    public static final class Outage extends RuntimeException {
        Outage(String message) {
            super(message);
        }

        Outage(String message, Throwable cause) {
            super(message, cause);
        }
    }

    /** The service takes no such request. {@code code} is the stable name of the reason, as in openapi.yaml. */
    public static final class Refused extends RuntimeException {
        public final String code;

        Refused(String code, String message) {
            super(code + ": " + message);
            this.code = code;
        }
    }

    /**
     * A session. The values of {@code data} are strings, booleans and numbers: Long where that holds the number, else
     * BigDecimal, so that none is rounded.
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

    // Longer than the service's own timeout, 2 s by default, so that the service can explain.
    private static final Duration TIMEOUT = Duration.ofSeconds(5);
    private static final Pattern TOKEN = Pattern.compile("[A-Za-z0-9]{64}");

    private final HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    private final String base;

    public SessionClient(String url, String app) {
        base = url + "/" + app + "/";
    }

    /** Creates a session and returns its token, a secret for the visitor's cookie. */
    public String create(String id, String ip, Map<String, ?> data) {
        return create(id, ip, data, null);
    }

    /** The same with a ttl of its own; null is the service's default. */
    public String create(String id, String ip, Map<String, ?> data, Duration ttl) {
        var query = "?ip=" + encode(ip) + (ttl == null ? "" : "&ttl=" + ttl.toSeconds());
        return (String) ask("PUT", "create/" + encode(id) + query, data).get("token");
    }

    /** The session, if there is one. */
    public Optional<Session> get(String token) {
        return isToken(token) ? Session.of(ask("GET", "get/" + token, null)) : Optional.empty();
    }

    /** Adds and replaces keys of the data; null removes one. Returns the session after that, if there is one. */
    public Optional<Session> set(String token, Map<String, ?> changes) {
        return isToken(token) ? Session.of(ask("POST", "set/" + token, changes)) : Optional.empty();
    }

    /** Ends the session. Returns whether there was one. */
    public boolean kill(String token) {
        return isToken(token) && (long) ask("DELETE", "kill/" + token, null).get("kill") == 1;
    }

    /** All sessions of an id, the last active first. */
    @SuppressWarnings("unchecked")
    public List<Session> soid(String id) {
        var list = (List<Map<String, Object>>) ask("GET", "soid/" + encode(id), null).get("sessions");
        return list.stream().map(Session::of).flatMap(Optional::stream).toList();
    }

    /** Ends all sessions of an id. Returns how many there were. */
    public long killsoid(String id) {
        return (long) ask("DELETE", "killsoid/" + encode(id), null).get("kill");
    }

    /** A cookie is the visitor's text. What is not of a token's form names no session, and never enters a path. */
    private static boolean isToken(String text) {
        return text != null && TOKEN.matcher(text).matches();
    }

    private static String encode(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20"); // a plus is a space in forms only
    }

    @SuppressWarnings("unchecked")
    private Map<String, Object> ask(String method, String path, Map<String, ?> body) {
        var request = HttpRequest.newBuilder(URI.create(base + path));
        if (body == null) {
            request.method(method, BodyPublishers.noBody());
        } else {
            request.method(method, BodyPublishers.ofString(Json.write(body)));
            request.header("Content-Type", "application/json");
        }
        var response = send(request.build());
        Map<String, Object> answer;
        try {
            answer = (Map<String, Object>) new Json(response.body()).read();
        } catch (IllegalArgumentException | ClassCastException error) {
            throw new Outage("status " + response.statusCode() + " without JSON");
        }
        if (response.statusCode() == 200) {
            return answer;
        }
        if (response.statusCode() >= 500) {
            throw new Outage("status " + response.statusCode() + ", " + answer.get("name"));
        }
        throw new Refused((String) answer.get("name"), (String) answer.get("message"));
    }

    private HttpResponse<String> send(HttpRequest request) {
        // The timeout of a request would end with the head of the answer; this one is for all of it.
        var answer = http.sendAsync(request, BodyHandlers.ofString());
        try {
            return answer.get(TIMEOUT.toMillis(), TimeUnit.MILLISECONDS);
        } catch (ExecutionException error) {
            throw new Outage(error.getCause().getClass().getSimpleName(), error.getCause());
        } catch (TimeoutException error) {
            throw new Outage("no answer in time", error);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
            throw new Outage("interrupted", error);
        } finally {
            answer.cancel(true);
        }
    }

    /** As much of JSON as the service speaks: any answer is read, flat objects are written. */
    private static final class Json {
        private static final char END = 0;
        private static final Pattern WORD = Pattern.compile("[-+.0-9A-Za-z]+");

        private final String text;
        private int at = 0;

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

        /** The whole text as Map, List, String, Long, BigDecimal, Boolean or null. */
        Object read() {
            var value = readValue();
            if (peek() != END) {
                throw unexpected();
            }
            return value;
        }

        private Object readValue() {
            return switch (peek()) {
                case '{' -> readObject();
                case '[' -> readList();
                case '"' -> readString();
                default -> readWord();
            };
        }

        private Map<String, Object> readObject() {
            var object = new LinkedHashMap<String, Object>();
            expect('{');
            if (!skip('}')) {
                do {
                    var key = readString();
                    expect(':');
                    object.put(key, readValue());
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

        private static Number readNumber(String word) {
            try {
                return Long.valueOf(word);
            } catch (NumberFormatException notLong) {
                return new BigDecimal(word);
            }
        }

        /** Passes over space and tells what comes then. */
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

        /** Without the text: it may hold a token. */
        private IllegalArgumentException unexpected() {
            return new IllegalArgumentException("not JSON at " + at);
        }
    }
}
