import jakarta.servlet.AsyncContext;
import jakarta.servlet.AsyncEvent;
import jakarta.servlet.AsyncListener;
import jakarta.servlet.DispatcherType;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletContext;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletOutputStream;
import jakarta.servlet.ServletRequest;
import jakarta.servlet.ServletRequestWrapper;
import jakarta.servlet.ServletResponse;
import jakarta.servlet.SessionTrackingMode;
import jakarta.servlet.http.Cookie;
import jakarta.servlet.http.HttpFilter;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletRequestWrapper;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpServletResponseWrapper;
import jakarta.servlet.http.HttpSession;
import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.lang.reflect.InvocationTargetException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ProtocolException;
import java.net.SocketTimeoutException;
import java.net.StandardSocketOptions;
import java.net.URI;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.Enumeration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;

/**
 * Stores the sessions of servlets in rest-sessions. Copy this file; README.md beside it shows its use.
 *
 * <p>Behind this filter, {@code request.getSession()} returns a session of the service. The filter sends changes when
 * the response starts, because a new session needs a cookie; it sends later changes at once. All dispatches of one
 * request (forward, include, error, async) share one {@link Visit}, which is an attribute of the request.
 */
public final class RestSessionsFilter extends HttpFilter {
    private static final long serialVersionUID = 1L;
    private static final Pattern TOKEN = Pattern.compile("[A-Za-z0-9]{64}");
    private static final Pattern APP = Pattern.compile("[A-Za-z0-9_-]{3,20}");
    private static final String NESTED = "json:"; // key prefix of nested values, which are stored as JSON text
    private static final List<String> USER_KEYS = // ours, Flask-Login's, Django's
            List.of("user_id", "_user_id", "_auth_user_id");
    private static final String ANONYMOUS = "anonymous";
    private static final int CANDIDATES = 4; // at most this many tokens of one request are looked up
    private static final int SHORTEST_TTL = 10; // seconds: the smallest ttl that the service accepts
    private static final String SHORT_INTERVAL = "_max_inactive_interval"; // key of an interval below that minimum
    private static final Set<String> PARAMETERS = Set.of("app", "url", "cookie", "secure");

    private transient Http http;
    private transient String app;
    private transient CookieSettings cookie;
    private transient String visitKey; // name of the request attribute that holds the Visit
    private transient Set<String> warned; // keys whose values could not be read

    @Override
    public void init() {
        var unknown = Collections.list(getInitParameterNames());
        unknown.removeAll(PARAMETERS);
        if (!unknown.isEmpty()) {
            throw new IllegalStateException("rest-sessions: unknown init-param " + unknown);
        }
        app = option("app", "REST_SESSIONS_APP")
                .orElseThrow(() -> new IllegalStateException("rest-sessions: set init-param app or REST_SESSIONS_APP"));
        if (!APP.matcher(app).matches()) {
            throw new IllegalStateException("rest-sessions: app must be 3 to 20 of A-Z, a-z, 0-9, _ and -");
        }
        cookie = CookieSettings.of(getServletContext(), getInitParameter("cookie"), getInitParameter("secure"));
        visitKey = RestSessionsFilter.class.getName() + "/" + getFilterName();
        warned = ConcurrentHashMap.newKeySet();
        mapOtherDispatches();
        try {
            http = new Http(option("url", "REST_SESSIONS_URL").orElse("http://127.0.0.1:3000"));
        } catch (IllegalArgumentException e) {
            throw new IllegalStateException("rest-sessions: url: " + e.getMessage());
        }
        getServletContext().setAttribute(RestSessionsFilter.class.getName(), this);
    }

    private Optional<String> option(String parameter, String variable) {
        return Stream.of(Optional.ofNullable(getInitParameter(parameter)), Optional.ofNullable(System.getenv(variable)))
                .flatMap(Optional::stream).filter(value -> !value.isEmpty()).findFirst();
    }

    /**
     * Maps this filter to every kind of dispatch. Why: on an error, the container dispatches its own request to the
     * error page. Without this filter, the page would get a container session with a second cookie.
     */
    private void mapOtherDispatches() {
        try {
            var mine = Optional.ofNullable(getServletContext().getFilterRegistration(getFilterName()))
                    .orElseThrow(UnsupportedOperationException::new);
            var urls = mine.getUrlPatternMappings().toArray(String[]::new);
            var servlets = mine.getServletNameMappings().toArray(String[]::new);
            if (urls.length > 0) {
                mine.addMappingForUrlPatterns(EnumSet.allOf(DispatcherType.class), false, urls);
            }
            if (servlets.length > 0) {
                mine.addMappingForServletNames(EnumSet.allOf(DispatcherType.class), false, servlets);
            }
            mine.addMappingForUrlPatterns(EnumSet.of(DispatcherType.ERROR), false, "/*");
        } catch (IllegalStateException | UnsupportedOperationException e) {
            getServletContext().log("rest-sessions: this container does not let a filter map itself; map it to the"
                    + " dispatchers REQUEST, FORWARD, INCLUDE, ERROR and ASYNC, as README.md shows");
        }
    }

    @Override
    public void destroy() {
        if (http != null) {
            http.close();
        }
    }

    /** Ends every session of a user and returns how many there were. */
    public static int logoutEverywhere(ServletContext context, String user) {
        if (!(context.getAttribute(RestSessionsFilter.class.getName()) instanceof RestSessionsFilter filter)) {
            throw new IllegalStateException("rest-sessions: the filter is not running in this context");
        }
        return Integer.parseInt(filter.ask("DELETE", "killsoid/" + encoded(user), null).fields.get("kill"));
    }

    @Override
    protected void doFilter(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
            throws IOException, ServletException {
        for (ServletRequest one = request; one != null; one = inner(one)) {
            if (one instanceof Request ours && ours.filter() == this) { // forward, include or double mapping
                serve(ours.visit, request, response, chain);
                return;
            }
        }
        var visit = request.getAttribute(visitKey) instanceof Visit known ? known : new Visit();
        request.setAttribute(visitKey, visit);
        visit.dispatchBegins(request, response);
        serve(visit, new Request(request, visit), new Response(response, visit), chain);
    }

    private static ServletRequest inner(ServletRequest request) {
        return request instanceof ServletRequestWrapper wrapper ? wrapper.getRequest() : null;
    }

    /** Runs a dispatch and saves the session, as containers do, even if the dispatch fails. */
    private static void serve(Visit visit, HttpServletRequest request, HttpServletResponse response, FilterChain chain)
            throws IOException, ServletException {
        visit.depth.incrementAndGet();
        Throwable thrown = null;
        try {
            chain.doFilter(request, response);
        } catch (IOException | ServletException | RuntimeException | Error e) {
            thrown = e;
            throw e;
        } finally {
            var outermost = visit.depth.decrementAndGet() == 0;
            if (outermost || request.getDispatcherType() == DispatcherType.FORWARD) { // a forward ends the response
                visit.dispatchEnds(thrown, outermost);
            }
        }
    }

    /** One request with its session, shared by all its dispatches and threads. */
    private final class Visit implements AsyncListener {
        private final ReentrantLock lock = new ReentrantLock(); // why not synchronized: virtual threads would be pinned
        private HttpServletRequest request; // the container's, like the response
        private HttpServletResponse response;
        private List<String> candidates;
        private String found; // the candidate that has a live session
        private boolean read; // whether the candidates were looked up
        private boolean begun; // whether the response has started
        private boolean async; // whether an asynchronous part is running or pending
        private final AtomicInteger depth = new AtomicInteger(); // nesting of dispatches
        private boolean over; // whether the container may reuse the response for another request
        private boolean onErrorPage;
        private RuntimeException notRead; // the error of a failed look-up
        private RuntimeException failure; // the error of the last save, until the application changes something
        private Session session;
        private String sentToken; // the token in the cookie of this response

        <T> T locked(Supplier<T> action) {
            lock.lock();
            try {
                return action.get();
            } finally {
                lock.unlock();
            }
        }

        void dispatchBegins(HttpServletRequest request, HttpServletResponse response) {
            lock.lock();
            try {
                this.request = request;
                this.response = response;
                over = false;
                onErrorPage = request.getDispatcherType() == DispatcherType.ERROR;
                restoreCookie();
            } finally {
                lock.unlock();
            }
        }

        void dispatchEnds(Throwable thrown, boolean outermost) {
            lock.lock();
            try {
                answerBegins();
            } catch (RuntimeException | Error e) {
                if (thrown == null) {
                    throw e;
                }
                thrown.addSuppressed(e);
            } finally {
                over = outermost && !async;
                lock.unlock();
            }
        }

        /** Saves the session. After a save has thrown once, lets the application send the response that it chooses. */
        void answerBegins() {
            lock.lock();
            try {
                begun = true;
                if (session != null && failure == null) {
                    session.save();
                }
            } finally {
                lock.unlock();
            }
        }

        HttpSession session(boolean create) {
            return locked(() -> {
                if (notRead != null && onErrorPage) {
                    throw notRead; // fails fast: the service has just failed
                }
                if (!read) {
                    lookUp();
                }
                if (session != null && session.invalid) {
                    session = null;
                }
                if (session == null && create) {
                    session = new Session(this, null, Map.of());
                }
                return session;
            });
        }

        private void lookUp() {
            try {
                for (var token : candidates()) {
                    var fields = ask("GET", "get/" + token, null).fields;
                    if (!fields.isEmpty()) {
                        session = new Session(this, token, fields);
                        found = token;
                        break;
                    }
                }
                read = true;
            } catch (RuntimeException e) {
                notRead = e;
                throw e;
            }
        }

        /**
         * The distinct tokens in the cookies, in the order sent. A browser sends several if an old cookie has another
         * path or domain. Some servers join several header lines with commas.
         */
        List<String> candidates() {
            if (candidates == null) {
                var lines = request.getHeaders("Cookie");
                candidates = (lines == null ? List.<String>of() : Collections.list(lines)).stream()
                        .flatMap(line -> Arrays.stream(line.split("[;,]")))
                        .map(pair -> pair.split("=", 2))
                        .filter(pair -> pair.length == 2 && trimmed(pair[0]).equals(cookie.name))
                        .map(pair -> trimmed(pair[1]))
                        .map(text -> text.length() > 1 && text.startsWith("\"") && text.endsWith("\"")
                                ? text.substring(1, text.length() - 1) : text)
                        .filter(text -> TOKEN.matcher(text).matches()).distinct().limit(CANDIDATES).toList();
            }
            return candidates;
        }

        /** Strips spaces and tabs, the only whitespace in a header. */
        private static String trimmed(String text) {
            var from = 0;
            var to = text.length();
            while (from < to && " \t".indexOf(text.charAt(from)) >= 0) {
                from++;
            }
            while (from < to && " \t".indexOf(text.charAt(to - 1)) >= 0) {
                to--;
            }
            return text.substring(from, to);
        }

        /** Throws if the cookie of a new session cannot reach the browser: then the session must not be created. */
        void checkCookieCanBeSent() {
            if (over || response.isCommitted()) {
                throw new IllegalStateException("rest-sessions: the response started before the session was saved, so"
                        + " its cookie cannot be sent; change the session before you write or flush");
            }
            if (cookie.secure && !cameSecurely()) {
                throw new IllegalStateException("rest-sessions: the request came over plain http, where browsers reject"
                        + " a Secure cookie; let the proxy send X-Forwarded-Proto, or set the init-param secure to"
                        + " false");
            }
        }

        /** Whether browsers accept a Secure cookie: over https, and from their own machine over http too. */
        private boolean cameSecurely() {
            var host = String.valueOf(request.getServerName()).toLowerCase(Locale.ROOT);
            var proto = String.valueOf(request.getHeader("X-Forwarded-Proto")).split(",")[0].strip();
            var forwarded = String.valueOf(request.getHeader("Forwarded")).toLowerCase(Locale.ROOT);
            return request.isSecure() || proto.equalsIgnoreCase("https")
                    || forwarded.matches(".*\\bproto=\"?https\\b.*")
                    || host.matches("(.*\\.)?localhost\\.?|127(\\.\\d+){3}|\\[?(0*:)+0*1\\]?");
        }

        /** Sets the session's cookie and replaces one that this response may already have. */
        void sendCookie(String token) {
            var ours = cookie.name + "=";
            var lines = new ArrayList<>(response.getHeaders("Set-Cookie"));
            lines.removeIf(line -> line.startsWith(ours));
            response.addCookie(cookie.of(token));
            var line = response.getHeaders("Set-Cookie").stream().filter(one -> one.startsWith(ours))
                    .reduce((first, last) -> last)
                    .orElseThrow(() -> new IllegalStateException("rest-sessions: the container set no cookie"));
            // The container may already have added SameSite from its own settings.
            lines.add(line.toLowerCase(Locale.ROOT).contains("; samesite=") ? line : line + "; SameSite=Lax");
            response.setHeader("Set-Cookie", lines.get(0));
            lines.stream().skip(1).forEach(other -> response.addHeader("Set-Cookie", other));
            sentToken = token;
        }

        /** Sets the cookie again after a call that may have removed it from the response. */
        void restoreCookie() {
            locked(() -> {
                var needed = sentToken != null && session != null && sentToken.equals(session.token);
                if (needed && !response.isCommitted()) {
                    var lines = response.getHeaders("Set-Cookie").stream();
                    if (lines.noneMatch(line -> line.startsWith(cookie.name + "="))) {
                        sendCookie(sentToken);
                    }
                }
                return null;
            });
        }

        void asyncBegins(AsyncContext context) {
            async = true;
            context.addListener(this);
        }

        /** Stores values that the application changed in place; the response is already sent. */
        @Override
        public void onComplete(AsyncEvent event) {
            lock.lock();
            try {
                async = false;
                over = true;
                if (session != null && failure == null) {
                    session.save();
                }
            } catch (RuntimeException e) {
                getServletContext().log("rest-sessions: could not save a session after an asynchronous response", e);
            } finally {
                lock.unlock();
            }
        }

        @Override
        public void onStartAsync(AsyncEvent event) {
            // Request.startAsync adds this listener again.
        }

        @Override
        public void onTimeout(AsyncEvent event) {
            // The application or the container sends the response.
        }

        @Override
        public void onError(AsyncEvent event) {
            // The application or the container sends the response.
        }
    }

    private final class Request extends HttpServletRequestWrapper {
        private final Visit visit;

        Request(HttpServletRequest request, Visit visit) {
            super(request);
            this.visit = visit;
        }

        RestSessionsFilter filter() {
            return RestSessionsFilter.this;
        }

        @Override
        public HttpSession getSession() {
            return visit.session(true);
        }

        @Override
        public HttpSession getSession(boolean create) {
            return visit.session(create);
        }

        @Override
        public String changeSessionId() {
            return visit.locked(() -> {
                if (!(visit.session(false) instanceof Session session)) {
                    throw new IllegalStateException("there is no session");
                }
                session.renew();
                return session.getId();
            });
        }

        /** Wraps the request and the response. Why: the container's own method would pass them without this filter. */
        @Override
        public AsyncContext startAsync() {
            return startAsync(this, new Response(visit.response, visit));
        }

        @Override
        public AsyncContext startAsync(ServletRequest request, ServletResponse response) {
            var context = super.startAsync(request, response);
            visit.asyncBegins(context);
            return context;
        }

        @Override
        public String getRequestedSessionId() {
            return visit.found != null ? visit.found : visit.candidates().stream().findFirst().orElse(null);
        }

        @Override
        public boolean isRequestedSessionIdValid() {
            return visit.session(false) instanceof Session session && Objects.equals(visit.found, session.token);
        }

        @Override
        public boolean isRequestedSessionIdFromCookie() {
            return getRequestedSessionId() != null;
        }

        @Override
        public boolean isRequestedSessionIdFromURL() {
            return false;
        }
    }

    private static final class Response extends HttpServletResponseWrapper {
        private final Visit visit;

        Response(HttpServletResponse response, Visit visit) {
            super(response);
            this.visit = visit;
        }

        @Override
        public ServletOutputStream getOutputStream() throws IOException {
            visit.answerBegins();
            return super.getOutputStream();
        }

        @Override
        public PrintWriter getWriter() throws IOException {
            visit.answerBegins();
            return super.getWriter();
        }

        @Override
        public void flushBuffer() throws IOException {
            visit.answerBegins();
            super.flushBuffer();
        }

        @Override
        public void sendError(int status) throws IOException {
            visit.answerBegins();
            super.sendError(status);
        }

        @Override
        public void sendError(int status, String message) throws IOException {
            visit.answerBegins();
            super.sendError(status, message);
        }

        @Override
        public void sendRedirect(String location) throws IOException {
            visit.answerBegins();
            super.sendRedirect(location);
        }

        // Servlet 6.1 adds three methods. They have no @Override, so that this file compiles with 6.0 too.

        public void sendRedirect(String location, int status) throws IOException {
            sendRedirect(location, status, true);
        }

        public void sendRedirect(String location, boolean clearBuffer) throws IOException {
            sendRedirect(location, SC_FOUND, clearBuffer);
        }

        public void sendRedirect(String location, int status, boolean clearBuffer) throws IOException {
            visit.answerBegins();
            try {
                HttpServletResponse.class.getMethod("sendRedirect", String.class, int.class, boolean.class)
                        .invoke(getResponse(), location, status, clearBuffer);
            } catch (InvocationTargetException e) {
                if (e.getCause() instanceof IOException cause) {
                    throw cause;
                }
                throw e.getCause() instanceof RuntimeException cause ? cause : new IllegalStateException(e.getCause());
            } catch (ReflectiveOperationException e) {
                throw new UnsupportedOperationException("this needs Servlet 6.1", e);
            }
        }

        @Override
        public void reset() {
            super.reset();
            visit.restoreCookie();
        }

        @Override
        public void setHeader(String name, String value) {
            super.setHeader(name, value);
            if ("Set-Cookie".equalsIgnoreCase(name)) {
                visit.restoreCookie();
            }
        }

        /** Returns the URL unchanged: a token must never be part of a link, whatever the tracking modes are. */
        @Override
        public String encodeURL(String url) {
            return url;
        }

        @Override
        public String encodeRedirectURL(String url) {
            return url;
        }
    }

    private final class Session implements HttpSession {
        private final Visit visit;
        private final String provisional = UUID.randomUUID().toString();
        private final boolean isNew;
        private final long lastAccess;
        private final boolean fixedEnd; // no_resave: use does not renew the session
        private final Map<String, Object> attributes = new LinkedHashMap<>();
        private final Map<String, String> kept = new LinkedHashMap<>(); // values that Java cannot read, by key
        private Map<String, String> stored; // data in the service: unmodified JSON text by key
        private Map<String, String> texts = Map.of(); // JSON text of each attribute when it was last read or saved
        private String token; // null until the first save
        private String replaced; // token of the session that this one replaces when it is saved
        private int ttl; // seconds, as in the service; Integer.MAX_VALUE: never expires
        private int shortInterval; // seconds, if the interval is below SHORTEST_TTL, else 0
        private boolean ttlChanged;
        private boolean invalid;
        private RuntimeException createFailed; // the service may have created a session; a retry could create two

        Session(Visit visit, String token, Map<String, String> fields) {
            this.visit = visit;
            this.token = token;
            isNew = token == null;
            lastAccess = System.currentTimeMillis() - number(fields.get("idle"), 0) * 1000L;
            var timeout = (int) Math.min(getServletContext().getSessionTimeout() * 60L, Integer.MAX_VALUE);
            ttl = Math.max(SHORTEST_TTL, number(fields.get("ttl"), timeout <= 0 ? Integer.MAX_VALUE : timeout));
            fixedEnd = "true".equals(fields.get("no_resave"));
            stored = fields.containsKey("d") ? Json.members(fields.get("d")) : Map.of();
            decode();
        }

        private static int number(String text, int absent) {
            return text != null && text.matches("\\d{1,18}") ? (int) Math.min(Long.parseLong(text), Integer.MAX_VALUE)
                    : absent;
        }

        /** Fills the attributes. A plain value wins over a nested one. Unreadable values go to {@code kept}. */
        private void decode() {
            stored.forEach((key, text) -> {
                var name = name(key);
                if (key.equals(SHORT_INTERVAL) && ttl == SHORTEST_TTL && text.matches("[1-9]")) {
                    shortInterval = Integer.parseInt(text);
                } else if (!name.equals(key) && !name.startsWith(NESTED) && stored.containsKey(name)) {
                    kept.put(key, text);
                } else {
                    try {
                        attributes.put(name, name.equals(key) ? Json.read(text) : nested(text));
                    } catch (IllegalArgumentException e) {
                        kept.put(key, text);
                        warn(key);
                    }
                }
            });
            texts = texts();
        }

        private static Object nested(String text) {
            if (Json.read(text) instanceof String json) {
                return Json.read(json);
            }
            throw new IllegalArgumentException("a nested value must be a string");
        }

        private void warn(String key) {
            if (warned.size() < 1000 && warned.add(key)) {
                getServletContext().log("rest-sessions: the stored value of "
                        + key.substring(0, Math.min(key.length(), 100)).replaceAll("[^\\x20-\\x7e]", "?")
                        + " cannot be read in Java; it stays stored unchanged and hidden from the application");
            }
        }

        private Map<String, String> texts() {
            var now = new LinkedHashMap<String, String>();
            attributes.forEach((name, value) -> now.put(name, text(name, value, Json.READ_LEVELS)));
            return now;
        }

        private static String text(String name, Object value, int levels) {
            try {
                Json.quote(name, new StringBuilder());
                return Json.write(value, levels);
            } catch (IllegalArgumentException e) {
                throw new IllegalArgumentException("rest-sessions: the attribute " + name + " cannot be stored: "
                        + e.getMessage());
            }
        }

        /** The data to store. Unchanged values keep their exact text, so that no number is rounded. */
        private Map<String, String> wanted(Map<String, String> now) {
            var d = new LinkedHashMap<String, String>();
            now.forEach((name, text) -> {
                var value = attributes.get(name);
                var many = value == null || value instanceof Map || value instanceof List;
                var plain = !many && !name.startsWith(NESTED);
                var key = plain ? name : NESTED + name;
                if (text.equals(texts.get(name)) && stored.containsKey(key)) {
                    d.put(key, stored.get(key));
                } else {
                    text(name, value, Json.WRITE_LEVELS);
                    d.put(key, plain ? text : Json.write(text, 0));
                }
            });
            d.putAll(kept);
            if (shortInterval > 0 && !d.isEmpty()) {
                d.put(SHORT_INTERVAL, Integer.toString(shortInterval));
            }
            return d;
        }

        /** Moves the data to a new token at the next save. */
        void renew() {
            valid();
            replaced = token != null ? token : replaced;
            token = null;
            visit.failure = null;
        }

        /** Sends the changes. A session that is new, or whose user has changed, gets a new token. */
        void save() {
            try {
                if (!invalid) {
                    send();
                }
            } catch (RuntimeException e) {
                visit.failure = e;
                throw e;
            }
        }

        private void send() {
            var now = texts();
            var after = wanted(now);
            if (token != null && !user(after).equals(user(stored))) {
                renew();
            }
            if (token == null && (!after.isEmpty() || replaced != null)) {
                create(after);
            } else if (token != null) {
                var changes = changes(stored, after);
                if (!changes.isEmpty() && ask("POST", "set/" + token, changes).fields.isEmpty()) {
                    throw ended();
                }
            }
            stored = after;
            texts = now;
        }

        private static IllegalStateException ended() {
            return new IllegalStateException("rest-sessions: the session was ended elsewhere during this request");
        }

        private void create(Map<String, String> after) {
            if (createFailed != null) {
                throw createFailed;
            }
            visit.checkCookieCanBeSent();
            var user = user(after);
            if (user.equals(ANONYMOUS) || user.startsWith(ANONYMOUS + ":")) {
                throw new IllegalArgumentException("rest-sessions: the user ids anonymous and anonymous:… are reserved"
                        + " for sessions without a user");
            }
            // Why random: a shared id would put all visitors into one index entry.
            var anonymousId = String.format("%s:%016x", ANONYMOUS, ThreadLocalRandom.current().nextLong());
            var path = "create/" + encoded(user.isEmpty() ? anonymousId : user) + "?ip="
                    + encoded(address(visit.request.getRemoteAddr())) + "&ttl=" + ttl
                    + (fixedEnd && !ttlChanged ? "&no_resave=1" : "");
            try {
                var fresh = Json.read(ask("PUT", path, after).fields.getOrDefault("token", "null"));
                if (!(fresh instanceof String text && TOKEN.matcher(text).matches())) {
                    throw new IllegalStateException("rest-sessions: the service returned no token");
                }
                replaceBy(text, after, !user.isEmpty() && !user.equals(user(stored)));
            } catch (RuntimeException e) {
                createFailed = e.getCause() instanceof Refused ? null : e;
                throw e;
            }
        }

        /** Ends the old session and sends the new cookie. If that fails, ends the new session again. */
        private void replaceBy(String fresh, Map<String, String> after, boolean login) {
            var done = false;
            try {
                var alone = replaced == null || killed(replaced) || login;
                if (alone) {
                    visit.sendCookie(fresh);
                    token = fresh;
                    replaced = null;
                    done = true;
                } else { // a logout or a concurrent request has ended it: its data must not come back
                    token = replaced;
                    replaced = null;
                    var changes = changes(stored, after);
                    changes.keySet().removeAll(forms(SHORT_INTERVAL));
                    if (!changes.isEmpty()) {
                        throw ended();
                    }
                }
            } finally {
                if (!done) {
                    token = replaced != null ? replaced : token;
                    replaced = null;
                    undo(fresh);
                }
            }
        }

        /** Ends a session. Whether it was alive; true after a retry, because the first attempt may have ended it. */
        private boolean killed(String dead) {
            var answer = ask("DELETE", "kill/" + dead, null);
            return answer.retried || "1".equals(answer.fields.get("kill"));
        }

        private void undo(String fresh) {
            var interrupted = Thread.interrupted(); // Why: an interrupt would end this call too
            try {
                ask("DELETE", "kill/" + fresh, null);
            } catch (RuntimeException e) {
                getServletContext()
                        .log("rest-sessions: could not end a new session that no cookie names; it will expire");
            } finally {
                if (interrupted) {
                    Thread.currentThread().interrupt();
                }
            }
        }

        private void valid() {
            if (invalid) {
                throw new IllegalStateException("the session has been invalidated");
            }
        }

        private void changed(String name) {
            kept.keySet().removeAll(forms(name));
            visit.failure = null;
            if (visit.begun) {
                save();
            }
        }

        @Override
        public String getId() {
            return visit.locked(() -> token != null ? token : provisional);
        }

        @Override
        public Object getAttribute(String name) {
            return visit.locked(() -> {
                valid();
                return attributes.get(name);
            });
        }

        @Override
        public Enumeration<String> getAttributeNames() {
            return visit.locked(() -> {
                valid();
                return Collections.enumeration(List.copyOf(attributes.keySet()));
            });
        }

        @Override
        public void setAttribute(String name, Object value) {
            if (value == null) {
                removeAttribute(name);
                return;
            }
            if (name == null || name.equals(SHORT_INTERVAL)) {
                throw new IllegalArgumentException("rest-sessions: the attribute name " + name + " is reserved");
            }
            visit.locked(() -> {
                valid();
                text(name, value, Json.WRITE_LEVELS); // fails now, not at the save, if JSON cannot hold the value
                attributes.put(name, value);
                changed(name);
                return null;
            });
        }

        @Override
        public void removeAttribute(String name) {
            visit.locked(() -> {
                valid();
                attributes.remove(name);
                if (name != null && !name.equals(SHORT_INTERVAL)) {
                    changed(name);
                }
                return null;
            });
        }

        @Override
        public void invalidate() {
            visit.locked(() -> {
                valid();
                for (var dead : Arrays.asList(token, replaced)) {
                    if (dead != null) {
                        ask("DELETE", "kill/" + dead, null);
                    }
                }
                invalid = true;
                visit.failure = null;
                return null;
            });
        }

        @Override
        public boolean isNew() {
            valid();
            return isNew;
        }

        /** The last access, unless the session is new: the service does not store when a session was created. */
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

        /** In seconds; negative if the session never expires. */
        @Override
        public int getMaxInactiveInterval() {
            return visit.locked(() -> shortInterval > 0 ? shortInterval : ttl == Integer.MAX_VALUE ? -1 : ttl);
        }

        /** Another ttl needs a new session, because the service sets the ttl at create. */
        @Override
        public void setMaxInactiveInterval(int seconds) {
            visit.locked(() -> {
                var wanted = seconds <= 0 ? Integer.MAX_VALUE : Math.max(seconds, SHORTEST_TTL);
                if (wanted != ttl && token != null) {
                    renew();
                }
                ttlChanged |= wanted != ttl;
                ttl = wanted;
                shortInterval = seconds > 0 && seconds < SHORTEST_TTL ? seconds : 0;
                return null;
            });
        }

        @Override
        public ServletContext getServletContext() {
            return RestSessionsFilter.this.getServletContext();
        }
    }

    /** A response of the service: the JSON text of each field; empty for a session that does not exist. */
    private record Fields(Map<String, String> fields, boolean retried) {}

    /** The service refused the request and has changed nothing. */
    private static final class Refused extends IOException {
        private static final long serialVersionUID = 1L;

        Refused(String message) {
            super(message);
        }
    }

    /** Calls the service. Errors never contain the path, because it holds a token. */
    private Fields ask(String method, String path, Map<String, String> d) {
        var body = d == null ? null : Json.object(d).getBytes(StandardCharsets.UTF_8);
        try {
            var repeatable = method.equals("GET") || method.equals("DELETE");
            var answer = http.ask(method, "/" + app + "/" + path, body, repeatable);
            if (answer.status() != 200) {
                var text = "rest-sessions: status " + answer.status() + " " + explanation(answer.body());
                throw answer.status() / 100 == 4 ? new Refused(text) : new IOException(text);
            }
            return new Fields(Json.members(answer.body()), answer.retried());
        } catch (IllegalArgumentException e) {
            throw new UncheckedIOException(new IOException("rest-sessions: the response is not JSON"));
        } catch (IOException e) {
            throw new UncheckedIOException(e.getMessage(), e);
        }
    }

    /** The service's name and message for an error. Omits text that may contain the path, such as a proxy's page. */
    private static String explanation(String body) {
        try {
            var text = new ArrayList<String>();
            for (var part : Arrays.asList("name", "message")) {
                if (Json.read(Json.members(body).getOrDefault(part, "null")) instanceof String said
                        && said.length() <= 300 && !said.contains("/") && !TOKEN.matcher(said).find()) {
                    text.add(said.replaceAll("\\p{Cntrl}", "?"));
                }
            }
            return String.join(": ", text);
        } catch (IllegalArgumentException e) {
            return "";
        }
    }

    /** Encodes a path segment. Escapes the ids `.` and `..`, which proxies would resolve. */
    static String encoded(String text) {
        Json.quote(text, new StringBuilder()); // throws for a lone surrogate
        var dots = text.equals(".") || text.equals("..");
        var out = new StringBuilder();
        for (var b : text.getBytes(StandardCharsets.UTF_8)) {
            var c = (char) (b & 0xff);
            if (c < 0x80 && (Character.isLetterOrDigit(c) || "-_~".indexOf(c) >= 0 || c == '.' && !dots)) {
                out.append(c);
            } else {
                out.append(String.format("%%%02X", b & 0xff));
            }
        }
        return out.toString();
    }

    /**
     * Converts the client's address to the form that the service accepts: without a port, with a zone id. Other text
     * becomes 0.0.0.0, so that a proxy's value never makes a request fail.
     */
    static String address(String remote) {
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

    private static String name(String key) {
        return key.startsWith(NESTED) ? key.substring(NESTED.length()) : key;
    }

    private static List<String> forms(String name) {
        return name.startsWith(NESTED) ? List.of(NESTED + name) : List.of(name, NESTED + name);
    }

    /** The changes from before to after. Each key comes with its other form: concurrent requests cannot leave both. */
    private static Map<String, String> changes(Map<String, String> before, Map<String, String> after) {
        var changes = new LinkedHashMap<String, String>();
        Stream.concat(before.keySet().stream(), after.keySet().stream()).forEach(key -> {
            if (!Objects.equals(before.get(key), after.get(key))) {
                forms(name(key)).forEach(form -> changes.put(form, after.getOrDefault(form, "null")));
            }
        });
        return changes;
    }

    /** The user id in {@code d}; empty if no user is logged in. */
    private static String user(Map<String, String> d) {
        for (var key : USER_KEYS) {
            try {
                var id = Json.read(d.getOrDefault(key, "null"));
                if (id instanceof Number || id instanceof String text && !text.isEmpty()) {
                    return id.toString();
                }
            } catch (IllegalArgumentException e) {
                continue; // hidden from the application too
            }
        }
        return "";
    }

    /** Cookie settings: those that the container is configured with for its own session cookie, but always HttpOnly. */
    private record CookieSettings(String name, String domain, String path, int maxAge, boolean secure,
            Map<String, String> attributes) {
        private static final Set<String> OWN = Set.of("name", "domain", "path", "max-age", "secure", "httponly",
                "expires", "comment"); // why: Jetty's getAttributes() includes all of these

        static CookieSettings of(ServletContext context, String name, String secure) {
            var config = context.getSessionCookieConfig();
            var configured = "JSESSIONID".equals(config.getName()) ? null : config.getName(); // Jetty names its default
            var attributes = new LinkedHashMap<String, String>();
            config.getAttributes().forEach((key, value) -> {
                if (value != null && !OWN.contains(key.toLowerCase(Locale.ROOT))) {
                    attributes.put(key, value);
                }
            });
            var cookie = new CookieSettings(
                    first(name, tomcat(context, "getSessionCookieName"), configured, "session"),
                    first(tomcat(context, "getSessionCookieDomain"), config.getDomain()),
                    first(tomcat(context, "getSessionCookiePath"), config.getPath(), "/"),
                    config.getMaxAge(), !"false".equals(secure), attributes);
            cookie.check(context, secure);
            return cookie;
        }

        private static String first(String... values) {
            return Arrays.stream(values).filter(value -> value != null && !value.isEmpty()).findFirst().orElse(null);
        }

        /** Reads a setting of Tomcat's {@code <Context>}. It overrides web.xml but is not in the servlet API. */
        private static String tomcat(ServletContext context, String getter) {
            try {
                var resources = context.getAttribute("org.apache.catalina.resources");
                if (resources == null) {
                    return null;
                }
                var tomcat = resources.getClass().getMethod("getContext").invoke(resources);
                return (String) tomcat.getClass().getMethod(getter).invoke(tomcat);
            } catch (ReflectiveOperationException | RuntimeException e) {
                return null;
            }
        }

        /** Throws for settings with which browsers would reject every cookie. */
        private void check(ServletContext context, String secureParameter) {
            var sameSite = attributes.entrySet().stream().filter(one -> one.getKey().equalsIgnoreCase("SameSite"))
                    .map(Map.Entry::getValue).findFirst().orElse("");
            refuse(!Set.of("true", "false").contains(Objects.requireNonNullElse(secureParameter, "true")),
                    "secure: must be true or false");
            refuse(!name.matches("[!#$%&'*+.^_`|~0-9A-Za-z-]+"), "cookie: not a valid cookie name");
            refuse(name.startsWith("__Host-") && (!secure || domain != null || !path.equals("/")),
                    "cookie: a name with __Host- needs Secure, the path / and no domain");
            refuse(name.startsWith("__Secure-") && !secure, "cookie: a name with __Secure- needs Secure");
            refuse(sameSite.equalsIgnoreCase("None") && !secure, "SameSite=None needs Secure");
            refuse(maxAge == 0, "cookie-config: browsers drop a cookie with max-age 0 at once");
            refuse(!context.getEffectiveSessionTrackingModes().contains(SessionTrackingMode.COOKIE),
                    "tracking-mode: must include COOKIE");
        }

        private static void refuse(boolean wrong, String message) {
            if (wrong) {
                throw new IllegalStateException("rest-sessions: " + message);
            }
        }

        Cookie of(String token) {
            var fresh = new Cookie(name, token);
            if (domain != null) {
                fresh.setDomain(domain);
            }
            fresh.setPath(path);
            fresh.setMaxAge(maxAge);
            fresh.setHttpOnly(true);
            fresh.setSecure(secure);
            attributes.forEach(fresh::setAttribute);
            return fresh;
        }
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

    /** JSON as String, Boolean, Integer, Long, BigInteger, Double, List, Map and null. */
    static final class Json {
        static final int WRITE_LEVELS = 100; // levels of nesting that every other language can read
        static final int READ_LEVELS = 500; // levels of nesting that older versions may have stored
        private static final int LONGEST_INTEGER = 400; // digits: more than any double has
        private static final Pattern NUMBER = Pattern.compile("-?(0|[1-9]\\d*+)(\\.\\d++)?([eE][+-]?\\d++)?");

        private final String text;
        private int at;
        private int level;

        private Json(String text) {
            this.text = text;
        }

        static String write(Object value) {
            return write(value, WRITE_LEVELS);
        }

        static String write(Object value, int levels) {
            var out = new StringBuilder();
            write(value, out, levels);
            return out.toString();
        }

        /** Builds an object from values that are already JSON text. */
        static String object(Map<String, String> texts) {
            var out = new StringBuilder("{");
            texts.forEach((key, text) -> {
                out.append(out.length() > 1 ? "," : "");
                quote(key, out);
                out.append(':').append(text);
            });
            return out.append('}').toString();
        }

        private static void write(Object value, StringBuilder out, int levels) {
            if (value instanceof String string) {
                quote(string, out);
            } else if (value instanceof Double || value instanceof Float || value instanceof BigInteger
                    || value instanceof BigDecimal) {
                if (value instanceof BigInteger huge && huge.bitLength() > 1024
                        || !Double.isFinite(((Number) value).doubleValue())) {
                    throw new IllegalArgumentException("JSON cannot hold a number beyond the range of a double");
                }
                out.append(value);
            } else if (value == null || value instanceof Boolean || value instanceof Integer || value instanceof Long
                    || value instanceof Short || value instanceof Byte) {
                out.append(value);
            } else if (levels <= 0) {
                throw new IllegalArgumentException("it is nested deeper than " + WRITE_LEVELS + " levels");
            } else if (value instanceof List<?> list) {
                var comma = "[";
                for (var item : list) {
                    out.append(comma);
                    write(item, out, levels - 1);
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
                    write(entry.getValue(), out.append(':'), levels - 1);
                    comma = ",";
                }
                out.append(map.isEmpty() ? "{}" : "}");
            } else {
                throw new IllegalArgumentException("JSON cannot hold a " + value.getClass().getName());
            }
        }

        static void quote(String string, StringBuilder out) {
            if (!isWhole(string)) {
                throw new IllegalArgumentException("it contains a lone surrogate");
            }
            out.append('"');
            for (var c : string.toCharArray()) {
                if (c < ' ') {
                    out.append(String.format("\\u%04x", (int) c));
                } else {
                    out.append(c == '"' || c == '\\' ? "\\" : "").append(c);
                }
            }
            out.append('"');
        }

        /** Whether a text has no lone surrogate, which UTF-8 cannot encode. */
        private static boolean isWhole(String text) {
            return text.codePoints().noneMatch(c -> c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE);
        }

        static Object read(String text) {
            try {
                var json = new Json(text);
                var value = json.value();
                return json.end(value);
            } catch (IndexOutOfBoundsException | NumberFormatException e) {
                throw new IllegalArgumentException("not valid JSON");
            }
        }

        /** The members of an object, each value as JSON text. So an unreadable value does not hide the others. */
        static Map<String, String> members(String text) {
            try {
                var json = new Json(text);
                var members = new LinkedHashMap<String, String>();
                json.expect('{');
                if (!json.skip('}')) {
                    do {
                        var key = json.characters();
                        json.expect(':');
                        json.peek();
                        var begin = json.at;
                        json.pass();
                        if (isWhole(key)) { // otherwise no request can contain the key
                            members.put(key, text.substring(begin, json.at));
                        }
                    } while (json.skip(','));
                    json.expect('}');
                }
                return json.end(members);
            } catch (IndexOutOfBoundsException e) {
                throw new IllegalArgumentException("not valid JSON");
            }
        }

        private <T> T end(T value) {
            if (peek() != 0 || at < text.length()) {
                throw new IllegalArgumentException("not valid JSON");
            }
            return value;
        }

        /** Skips a value of any depth. */
        private void pass() {
            var depth = 0;
            var begin = at;
            do {
                var c = text.charAt(at++);
                if (c == '"') {
                    for (c = text.charAt(at++); c != '"'; c = text.charAt(at++)) {
                        at += c == '\\' ? 1 : 0;
                    }
                } else if (c == '[' || c == '{') {
                    depth++;
                } else if (c == ']' || c == '}') {
                    depth--;
                } else if (depth == 0) {
                    while (at < text.length() && ",]} \t\r\n".indexOf(text.charAt(at)) < 0) {
                        at++;
                    }
                }
            } while (depth > 0);
            if (depth < 0 || text.charAt(begin) == ',') {
                throw new IllegalArgumentException("not valid JSON");
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

        /** Skips whitespace and returns the next character; 0 at the end. */
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
                throw new IllegalArgumentException("not valid JSON");
            }
        }

        private void deeper() {
            if (++level > READ_LEVELS) {
                throw new IllegalArgumentException("it is nested too deep");
            }
        }

        private Map<String, Object> object() {
            var map = new LinkedHashMap<String, Object>();
            deeper();
            expect('{');
            if (!skip('}')) {
                do {
                    var key = string();
                    expect(':');
                    map.put(key, value());
                } while (skip(','));
                expect('}');
            }
            level--;
            return map;
        }

        private List<Object> array() {
            var list = new ArrayList<>();
            deeper();
            expect('[');
            if (!skip(']')) {
                do {
                    list.add(value());
                } while (skip(','));
                expect(']');
            }
            level--;
            return list;
        }

        private String string() {
            var string = characters();
            if (!isWhole(string)) {
                throw new IllegalArgumentException("it contains a lone surrogate");
            }
            return string;
        }

        private String characters() {
            var out = new StringBuilder();
            expect('"');
            for (char c = text.charAt(at++); c != '"'; c = text.charAt(at++)) {
                out.append(c == '\\' ? escaped(text.charAt(at++)) : c);
            }
            return out.toString();
        }

        private char escaped(char c) {
            return switch (c) {
                case '"', '\\', '/' -> c;
                case 'b' -> '\b';
                case 'f' -> '\f';
                case 'n' -> '\n';
                case 'r' -> '\r';
                case 't' -> '\t';
                case 'u' -> (char) Integer.parseInt(text.substring(at, at += 4), 16);
                default -> throw new IllegalArgumentException("not valid JSON");
            };
        }

        private Object word(String word, Object value) {
            if (!text.startsWith(word, at)) {
                throw new IllegalArgumentException("not valid JSON");
            }
            at += word.length();
            return value;
        }

        private Number number() {
            var matcher = NUMBER.matcher(text).region(at, text.length());
            if (!matcher.lookingAt()) {
                throw new IllegalArgumentException("not valid JSON");
            }
            at = matcher.end();
            if (matcher.group(2) == null && matcher.group(3) == null) {
                if (matcher.group().length() > LONGEST_INTEGER) {
                    throw new IllegalArgumentException("it contains a number beyond the range of a double");
                }
                var exact = new BigInteger(matcher.group());
                if (exact.bitLength() < 32) {
                    return exact.intValue();
                }
                return exact.bitLength() < 64 ? (Number) exact.longValue() : finite(exact);
            }
            return finite(Double.valueOf(matcher.group()));
        }

        private static Number finite(Number number) {
            if (!Double.isFinite(number.doubleValue())) {
                throw new IllegalArgumentException("it contains a number beyond the range of a double");
            }
            return number;
        }
    }
}
