import jakarta.servlet.AsyncContext;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletContext;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletOutputStream;
import jakarta.servlet.http.Cookie;
import jakarta.servlet.http.HttpFilter;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletRequestWrapper;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpServletResponseWrapper;
import jakarta.servlet.http.HttpSession;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Enumeration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.UUID;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Keeps the sessions of servlets in rest-sessions. Copy this file; README.md beside it shows its use.
 *
 * <p>Behind this filter {@code request.getSession()} is a session of the service. What has changed is sent when the
 * answer begins, since a new session needs a cookie; what changes later is sent at once.
 */
public final class RestSessionsFilter extends HttpFilter {
    private static final long serialVersionUID = 1L;
    private static final Pattern TOKEN = Pattern.compile("[A-Za-z0-9]{64}");
    private static final String NESTED = "json:"; // what the key of a nested value begins with; it is then JSON text
    private static final List<String> USER_KEYS = // ours, Flask-Login's, Django's
            List.of("user_id", "_user_id", "_auth_user_id");
    private static final String ANONYMOUS = "anonymous";
    private static final Duration PATIENCE = Duration.ofSeconds(5);

    private final transient HttpClient client =
            HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(PATIENCE).build();
    private String url;
    private String cookie;

    @Override
    public void init() {
        var app = option("app", "REST_SESSIONS_APP")
                .orElseThrow(() -> new IllegalStateException("rest-sessions: name the app, as init-param or variable"));
        var base = option("url", "REST_SESSIONS_URL").orElse("http://127.0.0.1:3000");
        url = base.replaceAll("/+$", "") + "/" + app + "/";
        cookie = Optional.ofNullable(getInitParameter("cookie")).orElse("session");
        getServletContext().setAttribute(RestSessionsFilter.class.getName(), this);
    }

    private Optional<String> option(String parameter, String variable) {
        return Stream.of(Optional.ofNullable(getInitParameter(parameter)), Optional.ofNullable(System.getenv(variable)))
                .flatMap(Optional::stream).filter(value -> !value.isEmpty()).findFirst();
    }

    /** Ends every session of a user, and answers how many there were. */
    public static int logoutEverywhere(ServletContext context, String user) {
        var filter = (RestSessionsFilter) context.getAttribute(RestSessionsFilter.class.getName());
        return (Integer) filter.ask("DELETE", "killsoid/" + encoded(user), null).get("kill");
    }

    @Override
    protected void doFilter(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
            throws IOException, ServletException {
        var ours = new Request(request, response);
        chain.doFilter(ours, ours.answer);
        ours.answerBegins();
    }

    private final class Request extends HttpServletRequestWrapper {
        private final HttpServletResponse response;
        private final Response answer;
        private final String requested;
        private boolean read; // whether the session of the cookie was asked for
        private boolean begun; // whether the answer has begun
        private Session session;

        Request(HttpServletRequest request, HttpServletResponse response) {
            super(request);
            this.response = response;
            answer = new Response(response, this);
            var cookies = Optional.ofNullable(request.getCookies()).orElse(new Cookie[0]);
            requested = Arrays.stream(cookies).filter(one -> one.getName().equals(cookie)).map(Cookie::getValue)
                    .filter(value -> TOKEN.matcher(value).matches()).findFirst().orElse(null);
        }

        void answerBegins() {
            begun = true;
            if (session != null) {
                session.save();
            }
        }

        @Override
        public HttpSession getSession() {
            return getSession(true);
        }

        @Override
        public HttpSession getSession(boolean create) {
            if (!read && requested != null) {
                var found = ask("GET", "get/" + requested, null);
                session = found.isEmpty() ? null : new Session(this, requested, found);
            }
            read = true;
            if (session != null && session.invalid) {
                session = null;
            }
            if (session == null && create) {
                session = new Session(this, null, Map.of());
            }
            return session;
        }

        @Override
        public String changeSessionId() {
            if (getSession(false) == null) {
                throw new IllegalStateException("there is no session");
            }
            session.renew();
            return session.getId();
        }

        /** The container's own would hand out the request and the response without this filter. */
        @Override
        public AsyncContext startAsync() {
            return startAsync(this, answer);
        }

        @Override
        public String getRequestedSessionId() {
            return requested;
        }

        @Override
        public boolean isRequestedSessionIdValid() {
            return requested != null && getSession(false) != null && requested.equals(session.token);
        }

        @Override
        public boolean isRequestedSessionIdFromCookie() {
            return requested != null;
        }

        @Override
        public boolean isRequestedSessionIdFromURL() {
            return false;
        }
    }

    private static final class Response extends HttpServletResponseWrapper {
        private final Request request;

        Response(HttpServletResponse response, Request request) {
            super(response);
            this.request = request;
        }

        @Override
        public ServletOutputStream getOutputStream() throws IOException {
            request.answerBegins();
            return super.getOutputStream();
        }

        @Override
        public PrintWriter getWriter() throws IOException {
            request.answerBegins();
            return super.getWriter();
        }

        @Override
        public void flushBuffer() throws IOException {
            request.answerBegins();
            super.flushBuffer();
        }

        @Override
        public void sendError(int status) throws IOException {
            request.answerBegins();
            super.sendError(status);
        }

        @Override
        public void sendError(int status, String message) throws IOException {
            request.answerBegins();
            super.sendError(status, message);
        }

        @Override
        public void sendRedirect(String location) throws IOException {
            request.answerBegins();
            super.sendRedirect(location);
        }
    }

    private final class Session implements HttpSession {
        private final Request request;
        private final String provisional = UUID.randomUUID().toString();
        private final boolean isNew;
        private final long lastAccess;
        private final Map<String, Object> attributes;
        private Map<String, String> stored; // what the service has of it
        private String token; // null until the first save
        private String replaced; // the token of the session that this one replaces when it is saved
        private int ttl;
        private boolean invalid;

        Session(Request request, String token, Map<String, Object> found) {
            this.request = request;
            this.token = token;
            isNew = token == null;
            lastAccess = System.currentTimeMillis() - (Integer) found.getOrDefault("idle", 0) * 1000L;
            ttl = (Integer) found.getOrDefault("ttl", request.getServletContext().getSessionTimeout() * 60);
            attributes = decode(found.get("d") instanceof Map<?, ?> d ? d : Map.of());
            stored = encode(attributes);
        }

        /** Keeps the data, under a new token as soon as it is saved. */
        synchronized void renew() {
            valid();
            replaced = token != null ? token : replaced;
            token = null;
            stored = Map.of();
        }

        /** Sends what has changed. A session that is new, or whose user has changed, gets a new token. */
        synchronized void save() {
            if (invalid) {
                return;
            }
            var after = encode(attributes);
            if (token != null && !user(after).equals(user(stored))) {
                renew();
            }
            var changes = changes(stored, after);
            if (token == null && (!after.isEmpty() || replaced != null)) {
                create(after);
            } else if (!changes.isEmpty() && ask("POST", "set/" + token, changes).isEmpty()) {
                throw new IllegalStateException("rest-sessions: the session has ended while this request was served");
            }
            stored = after;
        }

        private void create(Map<String, String> d) {
            if (request.response.isCommitted()) {
                throw new IllegalStateException("the answer began before the session was saved");
            }
            var life = ttl <= 0 ? Integer.MAX_VALUE : Math.max(ttl, 10);
            var query = "?ip=" + encoded(request.getRemoteAddr()) + "&ttl=" + life;
            token = (String) ask("PUT", "create/" + encoded(user(d)) + query, d).get("token");
            var fresh = new Cookie(cookie, token);
            fresh.setPath("/");
            fresh.setHttpOnly(true);
            fresh.setSecure(true);
            fresh.setAttribute("SameSite", "Lax");
            request.response.addCookie(fresh);
            if (replaced != null) {
                ask("DELETE", "kill/" + replaced, null);
                replaced = null;
            }
        }

        private void valid() {
            if (invalid) {
                throw new IllegalStateException("the session has been invalidated");
            }
        }

        private void changed() {
            if (request.begun) {
                save();
            }
        }

        @Override
        public String getId() {
            return token != null ? token : provisional;
        }

        @Override
        public synchronized Object getAttribute(String name) {
            valid();
            return attributes.get(name);
        }

        @Override
        public synchronized Enumeration<String> getAttributeNames() {
            valid();
            return Collections.enumeration(List.copyOf(attributes.keySet()));
        }

        @Override
        public synchronized void setAttribute(String name, Object value) {
            valid();
            if (value == null) {
                removeAttribute(name);
                return;
            }
            Json.write(value); // fails here, not later, if JSON cannot hold it
            attributes.put(name, value);
            changed();
        }

        @Override
        public synchronized void removeAttribute(String name) {
            valid();
            attributes.remove(name);
            changed();
        }

        @Override
        public synchronized void invalidate() {
            valid();
            for (var dead : Arrays.asList(token, replaced)) {
                if (dead != null) {
                    ask("DELETE", "kill/" + dead, null);
                }
            }
            invalid = true;
        }

        @Override
        public boolean isNew() {
            valid();
            return isNew;
        }

        /** The service does not tell when a session was created; for one that is not new, this is its last access. */
        @Override
        public long getCreationTime() {
            valid();
            return lastAccess;
        }

        @Override
        public long getLastAccessedTime() {
            valid();
            return lastAccess;
        }

        @Override
        public int getMaxInactiveInterval() {
            return ttl;
        }

        /** A ttl is settled when a session is created: for another one there has to be a new session. */
        @Override
        public synchronized void setMaxInactiveInterval(int seconds) {
            if (seconds != ttl && token != null) {
                renew();
            }
            ttl = seconds;
        }

        @Override
        public ServletContext getServletContext() {
            return request.getServletContext();
        }
    }

    /** Asks the service. No error names the path, since that holds a token. */
    private Map<String, Object> ask(String method, String path, Map<String, String> d) {
        try {
            var body = BodyPublishers.noBody();
            if (d != null) {
                var bytes = StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(Json.object(d)));
                body = BodyPublishers.ofByteArray(bytes.array(), 0, bytes.limit());
            }
            var answer = client.send(HttpRequest.newBuilder(URI.create(url + path)).timeout(PATIENCE)
                    .header("Content-Type", "application/json").method(method, body).build(), BodyHandlers.ofString());
            if (answer.statusCode() != 200) {
                throw new IOException("rest-sessions: " + answer.statusCode() + " " + answer.body());
            }
            return Json.read(answer.body()) instanceof Map<?, ?> map ? named(map) : Map.of();
        } catch (CharacterCodingException e) {
            throw new IllegalArgumentException("an attribute has a string with half a character", e);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("rest-sessions: interrupted", e);
        }
    }

    private static String encoded(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20");
    }

    /** {@code d} for attributes, each value as JSON text. A nested value is a string that holds JSON. */
    private static Map<String, String> encode(Map<String, Object> attributes) {
        var d = new LinkedHashMap<String, String>();
        attributes.forEach((name, value) -> {
            var text = Json.write(value);
            var plain = value != null && !(value instanceof Map || value instanceof List) && !name.startsWith(NESTED);
            d.put(plain ? name : NESTED + name, plain ? text : Json.write(text));
        });
        return d;
    }

    /** The attributes of a {@code d}. A plain value wins over a nested one of the same name. */
    private static Map<String, Object> decode(Map<?, ?> d) {
        var attributes = new LinkedHashMap<String, Object>();
        named(d).forEach((key, value) -> {
            var name = key.startsWith(NESTED) ? key.substring(NESTED.length()) : key;
            if (name.equals(key)) {
                attributes.put(key, value);
            } else if (name.startsWith(NESTED) || !d.containsKey(name)) {
                attributes.put(name, Json.read((String) value));
            }
        });
        return attributes;
    }

    private static Map<String, Object> named(Map<?, ?> map) {
        var named = new LinkedHashMap<String, Object>();
        map.forEach((key, value) -> named.put((String) key, value));
        return named;
    }

    /** What makes one of the other. Each key goes with its other form, so that no two requests can leave both. */
    private static Map<String, String> changes(Map<String, String> before, Map<String, String> after) {
        var changes = new LinkedHashMap<String, String>();
        Stream.concat(before.keySet().stream(), after.keySet().stream()).forEach(key -> {
            if (Objects.equals(before.get(key), after.get(key))) {
                return;
            }
            var name = key.startsWith(NESTED) ? key.substring(NESTED.length()) : key;
            var forms = name.startsWith(NESTED) ? List.of(key) : List.of(name, NESTED + name);
            forms.forEach(form -> changes.put(form, after.getOrDefault(form, "null")));
        });
        return changes;
    }

    private static String user(Map<String, String> d) {
        return USER_KEYS.stream().map(d::get).filter(Objects::nonNull).map(Json::read)
                .filter(id -> id instanceof Number || id instanceof String text && !text.isEmpty())
                .findFirst().map(Object::toString).orElse(ANONYMOUS);
    }

    /** JSON as String, Boolean, Integer, Long, BigInteger, Double, List, Map and null. */
    static final class Json {
        private final String text;
        private int at;

        private Json(String text) {
            this.text = text;
        }

        static String write(Object value) {
            var out = new StringBuilder();
            write(value, out);
            return out.toString();
        }

        /** An object whose values are JSON text already. */
        static String object(Map<String, String> texts) {
            var out = new StringBuilder("{");
            texts.forEach((key, text) -> {
                out.append(out.length() > 1 ? "," : "");
                quote(key, out);
                out.append(':').append(text);
            });
            return out.append('}').toString();
        }

        private static void write(Object value, StringBuilder out) {
            if (value instanceof String string) {
                quote(string, out);
            } else if (value instanceof Double || value instanceof Float) {
                if (!Double.isFinite(((Number) value).doubleValue())) {
                    throw new IllegalArgumentException("JSON cannot hold " + value);
                }
                out.append(value);
            } else if (value == null || value instanceof Boolean || value instanceof Integer || value instanceof Long
                    || value instanceof Short || value instanceof Byte || value instanceof BigInteger
                    || value instanceof BigDecimal) {
                out.append(value);
            } else if (value instanceof List<?> list) {
                var comma = "[";
                for (var item : list) {
                    out.append(comma);
                    write(item, out);
                    comma = ",";
                }
                out.append(list.isEmpty() ? "[]" : "]");
            } else if (value instanceof Map<?, ?> map) {
                var comma = "{";
                for (var entry : map.entrySet()) {
                    if (!(entry.getKey() instanceof String key)) {
                        throw new IllegalArgumentException("JSON cannot hold a key that is not a string");
                    }
                    out.append(comma);
                    quote(key, out);
                    write(entry.getValue(), out.append(':'));
                    comma = ",";
                }
                out.append(map.isEmpty() ? "{}" : "}");
            } else {
                throw new IllegalArgumentException("JSON cannot hold a " + value.getClass().getName());
            }
        }

        private static void quote(String string, StringBuilder out) {
            out.append('"');
            string.chars().forEach(c -> {
                if (c < ' ') {
                    out.append(String.format("\\u%04x", c));
                } else {
                    out.append(c == '"' || c == '\\' ? "\\" : "").append((char) c);
                }
            });
            out.append('"');
        }

        static Object read(String text) {
            try {
                var json = new Json(text);
                var value = json.value();
                if (json.peek() != 0) {
                    throw new IllegalArgumentException("this is no JSON");
                }
                return value;
            } catch (IndexOutOfBoundsException | NumberFormatException e) {
                throw new IllegalArgumentException("this is no JSON", e);
            }
        }

        private Object value() {
            return switch (peek()) {
                case '{' -> object();
                case '[' -> array();
                case '"' -> string();
                case 't' -> word("true", true);
                case 'f' -> word("false", false);
                case 'n' -> word("null", null);
                default -> number();
            };
        }

        /** The next character that is no space, 0 at the end. */
        private char peek() {
            while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
                at++;
            }
            return at < text.length() ? text.charAt(at) : 0;
        }

        private boolean skip(char c) {
            var found = peek() == c;
            at += found ? 1 : 0;
            return found;
        }

        private void expect(char c) {
            if (!skip(c)) {
                throw new IllegalArgumentException("this is no JSON");
            }
        }

        private Map<String, Object> object() {
            var map = new LinkedHashMap<String, Object>();
            expect('{');
            if (!skip('}')) {
                do {
                    var key = string();
                    expect(':');
                    map.put(key, value());
                } while (skip(','));
                expect('}');
            }
            return map;
        }

        private List<Object> array() {
            var list = new ArrayList<>();
            expect('[');
            if (!skip(']')) {
                do {
                    list.add(value());
                } while (skip(','));
                expect(']');
            }
            return list;
        }

        private String string() {
            var out = new StringBuilder();
            expect('"');
            for (char c = text.charAt(at++); c != '"'; c = text.charAt(at++)) {
                out.append(c == '\\' ? escaped(text.charAt(at++)) : c);
            }
            return out.toString();
        }

        private char escaped(char c) {
            return switch (c) {
                case 'b' -> '\b';
                case 'f' -> '\f';
                case 'n' -> '\n';
                case 'r' -> '\r';
                case 't' -> '\t';
                case 'u' -> (char) Integer.parseInt(text.substring(at, at += 4), 16);
                default -> c;
            };
        }

        private Object word(String word, Object value) {
            if (!text.startsWith(word, at)) {
                throw new IllegalArgumentException("this is no JSON");
            }
            at += word.length();
            return value;
        }

        private Number number() {
            var begin = at;
            while (at < text.length() && "+-.eE0123456789".indexOf(text.charAt(at)) >= 0) {
                at++;
            }
            var number = text.substring(begin, at);
            if (number.matches("-?\\d+")) {
                var exact = new BigInteger(number);
                if (exact.bitLength() < 32) {
                    return exact.intValue();
                }
                return exact.bitLength() < 64 ? (Number) exact.longValue() : (Number) exact;
            }
            return Double.valueOf(number);
        }
    }
}
