import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Executors;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** The Java part of the site, on the JDK's own HTTP server. SessionClient.java is the file to copy. */
final class App {
    // Demo only: all users share one password. A real site stores a hash of each user's password.
    private static final String PASSWORD = "demo";
    private static final List<String> ROLES = List.of("reader", "editor");
    private static final Pattern NAME = Pattern.compile("[\\p{L}\\p{N}].{0,63}", Pattern.DOTALL);

    // Lax: browsers omit the cookie in POSTs from other sites. No Max-Age: the service's ttl ends a session.
    private static final String COOKIE = "session=%s; Path=/; HttpOnly; Secure; SameSite=Lax";
    private static final String NO_COOKIE = COOKIE.formatted("") + "; Max-Age=0";

    private static final DateTimeFormatter TIME =
            DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm:ss 'UTC'").withZone(ZoneOffset.UTC);

    private static final String LOGIN = """
            <form method="post" action="/java/login">
            <label>Name <input name="name" required maxlength="64" autocomplete="username"></label>
            <label>Role <select name="role"><option>reader<option>editor</select></label>
            <label>Password <input name="password" type="password" required autocomplete="current-password"></label>
            <button>Log in</button>
            <p>This is a demo: any name will do, and the password is <code>demo</code>.</p>
            </form>""";

    private record Login(String token, SessionClient.Session session) {}

    private record Response(int status, Map<String, String> headers, String body) {}

    private final SessionClient sessions = new SessionClient(System.getenv("SESSIONS_URL"), "site");

    private Response home(HttpExchange request) {
        // Two concurrent visits may count as one: both read the same number.
        var session = login(cookies(request)).flatMap(found -> {
            var visits = found.session().data().get("visits") instanceof Number number ? number.longValue() : 0;
            return sessions.set(found.token(), Map.of("visits", visits + 1));
        });
        if (session.isEmpty()) {
            return page(200, "You are not logged in", LOGIN);
        }
        var data = session.get().data();
        return page(200, "Hello, " + escape(data.get("name")), """
                <p>Your role: <b id="role">%s</b>.
                Your visits to the four parts: <b id="visits">%s</b>.</p>
                <p><a href="/java/devices">Your devices</a></p>
                <form method="post" action="/java/logout"><button>Log out</button></form>"""
                .formatted(escape(data.get("role")), escape(data.get("visits"))));
    }

    private Response login(HttpExchange request) throws IOException {
        var form = readForm(request);
        var name = form.getOrDefault("name", "");
        var role = form.getOrDefault("role", "");
        if (!form.getOrDefault("password", "").equals(PASSWORD)) {
            return page(403, "Wrong password", LOGIN);
        }
        if (!NAME.matcher(name).matches() || !ROLES.contains(role)) {
            return page(400, "Choose a name that begins with a letter or a digit", LOGIN);
        }
        if (name.equals("anonymous") || name.startsWith("anonymous:")) { // reserved for sessions without a user
            return page(400, "Choose another name", LOGIN);
        }
        String token;
        try {
            token = sessions.create(name, visitorIp(request), Map.of("name", name, "role", role, "visits", 0));
        } catch (SessionClient.Refused refused) { // a line break in the name, for example
            return page(400, "Choose another name", LOGIN);
        }
        try {
            // Always a new token, and the old session ends. Why: an attacker may have planted the old token.
            end(request);
        } catch (SessionClient.Outage outage) {
            endWithoutCookie(token);
            throw outage;
        }
        return redirect(COOKIE.formatted(token));
    }

    /** Tries to end a new session whose cookie will not be sent. */
    private void endWithoutCookie(String token) {
        try {
            sessions.kill(token);
        } catch (SessionClient.Outage outage) {
            System.err.println("sessions: could not end a new session that no cookie names; it will expire");
        }
    }

    private Response devices(HttpExchange request) {
        var found = login(cookies(request));
        if (found.isEmpty()) {
            return redirect();
        }
        var rows = sessions.soid(found.get().session().id()).stream()
                .map(device -> "<tr><td>%s<td>%d s<td>%s".formatted(escape(device.ip()), device.idle(),
                        TIME.format(Instant.now().minusSeconds(device.idle()))))
                .collect(Collectors.joining());
        return page(200, "Your devices", """
                <table><tr><th>Address<th>Idle<th>Last use%s</table>
                <form method="post" action="/java/logout-everywhere"><button>Log out everywhere</button></form>
                <p><a href="/java/">Back</a></p>""".formatted(rows));
    }

    private Response logout(HttpExchange request) {
        end(request); // first: if it fails, the visitor keeps the cookie and can try again
        return redirect(NO_COOKIE);
    }

    private Response logoutEverywhere(HttpExchange request) {
        login(cookies(request)).ifPresent(found -> sessions.killsoid(found.session().id()));
        return redirect(NO_COOKIE);
    }

    private Response answer(HttpExchange request) throws IOException {
        if (request.getRequestMethod().equals("POST") && !fromThisSite(request)) {
            return page(403, "This form was sent from another site", "");
        }
        try {
            return switch (request.getRequestMethod() + " " + request.getRequestURI().getPath()) {
                case "GET /java/" -> home(request);
                case "GET /java/devices" -> devices(request);
                case "POST /java/login" -> login(request);
                case "POST /java/logout" -> logout(request);
                case "POST /java/logout-everywhere" -> logoutEverywhere(request);
                default -> page(404, "No such page", "");
            };
        } catch (SessionClient.Outage outage) {
            System.err.println("sessions: " + outage.getMessage());
            request.getResponseHeaders().set("Retry-After", "1");
            return page(503, "Please try again in a moment",
                    "<p>The session service does not answer. You have not been logged out.</p>");
        }
    }

    /**
     * Protects against CSRF. Browsers send Origin with each POST, so this covers the login too, which has no session
     * yet that could hold a CSRF token.
     */
    private static boolean fromThisSite(HttpExchange request) {
        var headers = request.getRequestHeaders();
        var ours = headers.getFirst("X-Forwarded-Proto") + "://" + headers.getFirst("Host");
        return ours.equals(headers.getFirst("Origin"));
    }

    private static String visitorIp(HttpExchange request) {
        return request.getRequestHeaders().getFirst("X-Real-IP"); // nginx overwrites what the client sent
    }

    /**
     * The tokens in the session cookies, at most four. A browser sends several cookies of one name if an old one has
     * another path or domain. Invariant: all parts of the site use the first token with a live session.
     */
    private static List<String> cookies(HttpExchange request) {
        return request.getRequestHeaders().getOrDefault("Cookie", List.of()).stream()
                .flatMap(header -> Arrays.stream(header.split("[;,]")))
                .map(pair -> pair.split("=", 2))
                .filter(pair -> pair.length == 2 && trimmed(pair[0]).equals("session"))
                .map(pair -> trimmed(pair[1]).replaceFirst("^\"(.*)\"$", "$1"))
                .filter(SessionClient::isToken)
                .distinct().limit(4).toList();
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

    private Optional<Login> login(List<String> tokens) {
        for (var token : tokens) {
            var session = sessions.get(token);
            if (session.isPresent()) {
                return Optional.of(new Login(token, session.get()));
            }
        }
        return Optional.empty();
    }

    /** Ends the session of the request's cookies. */
    private void end(HttpExchange request) {
        for (var token : cookies(request)) {
            if (sessions.kill(token)) {
                return;
            }
        }
    }

    private static Map<String, String> readForm(HttpExchange request) throws IOException {
        var body = new String(request.getRequestBody().readNBytes(16384), StandardCharsets.UTF_8);
        return Arrays.stream(body.split("&"))
                .map(pair -> pair.split("=", 2))
                .filter(pair -> pair.length == 2)
                .collect(Collectors.toMap(pair -> decode(pair[0]), pair -> decode(pair[1]), (first, second) -> first));
    }

    private static String decode(String text) {
        try {
            return URLDecoder.decode(text, StandardCharsets.UTF_8);
        } catch (IllegalArgumentException notEncoded) {
            return text;
        }
    }

    private static String escape(Object text) {
        return String.valueOf(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
                .replace("\"", "&quot;").replace("'", "&#39;");
    }

    /** {@code title} and {@code content} are HTML. */
    private static Response page(int status, String title, String content) {
        return new Response(status, Map.of("Content-Type", "text/html; charset=utf-8"), """
                <!doctype html>
                <html lang="en">
                <meta charset="utf-8">
                <meta name="viewport" content="width=device-width">
                <title>Java</title>
                <link rel="stylesheet" href="/style.css">
                <nav><a href="/python/">Python</a> <a href="/php/">PHP</a> <b>Java</b> <a href="/node/">Node</a></nav>
                <main>
                <h1>%s</h1>
                %s
                </main>
                """.formatted(title, content));
    }

    private static Response redirect() {
        return new Response(303, Map.of("Location", "/java/"), "");
    }

    private static Response redirect(String cookie) {
        return new Response(303, Map.of("Location", "/java/", "Set-Cookie", cookie), "");
    }

    private void handle(HttpExchange exchange) throws IOException {
        try (exchange) {
            Response response;
            try {
                response = answer(exchange);
            } catch (RuntimeException error) {
                error.printStackTrace();
                response = page(500, "Something went wrong", "");
            }
            var headers = exchange.getResponseHeaders();
            response.headers().forEach(headers::set);
            headers.set("Cache-Control", "no-store");
            var body = response.body().getBytes(StandardCharsets.UTF_8);
            exchange.sendResponseHeaders(response.status(), body.length == 0 ? -1 : body.length);
            exchange.getResponseBody().write(body);
        }
    }

    public static void main(String[] arguments) throws IOException {
        var environment = System.getenv();
        var host = environment.getOrDefault("HOST", "127.0.0.1");
        var port = Integer.parseInt(environment.getOrDefault("PORT", "8000"));
        var app = new App();
        var server = HttpServer.create(new InetSocketAddress(host, port), 0);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", app::handle);
        server.start();
        System.out.println("listening on http://" + host + ":" + server.getAddress().getPort());
    }
}
