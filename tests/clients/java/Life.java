import java.io.IOException;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

import com.fasterxml.jackson.annotation.JsonInclude;

import restsessions.ApiClient;
import restsessions.ApiException;
import restsessions.api.ListsApi;
import restsessions.api.ServiceApi;
import restsessions.api.SessionsApi;
import restsessions.model.ErrorBody;
import restsessions.model.Session;

/**
 * Tests the life cycle of a session with the Java client generated from openapi.yaml.
 *
 * <pre>java Life URL URL_OF_A_SERVICE_WITHOUT_ITS_STORE</pre>
 */
class Life {
    static final String APP = "java";
    static final String IP = "203.0.113.7";
    static final Map<String, Object> DATA = with(Map.of(),
            "name", "Zoë \"Ada\" O'Neil \\ Łódź\n東京 🦀",
            "empty", "",
            "cart", 3,
            "debt", -7,
            "beyond", 9007199254740993L, // 2^53 + 1, beyond the exact integers of a double
            "largest", Long.MAX_VALUE,
            "ratio", 0.1,
            "tiny", 1e-7,
            "yes", true,
            "no", false);
    static final List<String> IDS = List.of("a/b", "a:b", "a b", "100%", "a%2Fb", "a+b", "Zoë-東京");

    static void check(String name, boolean passed) {
        if (!passed) {
            throw fail(name);
        }
        System.out.println(name);
    }

    static IllegalStateException fail(String name) {
        return new IllegalStateException("FAILED: " + name);
    }

    static ApiClient connect(String url) {
        var client = new ApiClient();
        client.updateBaseUri(url);
        client.setReadTimeout(Duration.ofSeconds(5)); // without it, calls have no timeout
        return client;
    }

    /** The session API of a client that sends null values; the generated default omits them. */
    static SessionsApi sendingNulls(ApiClient client) {
        client.setObjectMapper(client.getObjectMapper().setDefaultPropertyInclusion(JsonInclude.Include.ALWAYS));
        return new SessionsApi(client);
    }

    /** Returns a copy of a map with additional entries, in order. */
    static Map<String, Object> with(Map<String, Object> map, Object... more) {
        var copy = new LinkedHashMap<>(map);
        for (int i = 0; i < more.length; i += 2) {
            copy.put((String) more[i], more[i + 1]);
        }
        return copy;
    }

    static boolean none(Map<String, Object> d) {
        return d == null || d.isEmpty();
    }

    /** Returns the sorted ids of sessions. */
    static List<String> ids(List<Session> sessions) {
        return sessions.stream().map(Session::getId).sorted().toList();
    }

    interface Call {
        void run() throws ApiException;
    }

    /** Returns the error that a call throws. */
    static ApiException failure(Call call) {
        try {
            call.run();
        } catch (ApiException error) {
            return error;
        }
        throw fail("an error was expected");
    }

    /** Returns the body of an error as the generated type. */
    static ErrorBody body(ApiException error) throws IOException {
        return new ApiClient().getObjectMapper().readValue(error.getResponseBody(), ErrorBody.class);
    }

    static boolean is(ApiException error, int status, String name) throws IOException {
        return error.getCode() == status && body(error).getName().equals(name);
    }

    public static void main(String[] args) throws Exception {
        var client = connect(args[0]);
        var sessions = new SessionsApi(client);
        var lists = new ListsApi(client);

        check("ping says PONG", new ServiceApi(client).ping().equals("PONG"));

        var token = sessions.create(APP, "ann", IP, 600, null, DATA).getToken();
        check("create returns a token", token.length() == 64);

        var session = sessions.get(APP, token);
        check("get returns a session", session.getId().equals("ann") && session.getIp().equals(IP));
        var numbers = List.of(session.getR(), session.getW(), session.getTtl()).equals(List.of(1L, 1L, 600L));
        check("get returns its counters", numbers && session.getIdle() < 60);
        check("no_resave is absent by default", session.getNoResave() == null);
        var d = session.getD();
        check("all keys are returned", List.copyOf(d.keySet()).equals(List.copyOf(DATA.keySet())));
        var kinds = new LinkedHashMap<String, List<String>>();
        kinds.put("strings", List.of("name", "empty"));
        kinds.put("integers", List.of("cart", "debt"));
        kinds.put("large integers", List.of("beyond", "largest"));
        kinds.put("doubles", List.of("ratio", "tiny"));
        kinds.put("booleans", List.of("yes", "no"));
        for (var kind : kinds.entrySet()) {
            var equal = kind.getValue().stream().allMatch(key -> DATA.get(key).equals(d.get(key)));
            check(kind.getKey() + " come back", equal);
        }
        check("a get increments r", sessions.get(APP, token).getR() == 2);

        session = sessions.set(APP, token, null, Map.of("cart", 4, "theme", "dark"));
        check("set adds and replaces keys", session.getD().equals(with(DATA, "cart", 4, "theme", "dark")));
        check("a set increments w", session.getW() == 2);
        session = sendingNulls(connect(args[0])).set(APP, token, null, with(Map.of(), "theme", null));
        check("null removes a key", session.getD().equals(with(DATA, "cart", 4)));
        sessions.set(APP, token, null, Map.of("a&b=c", 1, "é+ %", 2, "keep", 3));
        session = sessions.set(APP, token, List.of("a&b=c", "é+ %", "absent"), null);
        check("unset removes keys", session.getD().equals(with(DATA, "cart", 4, "keep", 3)));
        session = sessions.set(APP, token, List.of("keep"), Map.of("cart", 5));
        check("unset and changes work together", session.getD().equals(with(DATA, "cart", 5)));

        var answer = sessions.authWithHttpInfo(APP, List.of("name", "cart"), null, token, null);
        var headers = answer.getHeaders();
        check("auth of a session is a 204", answer.getStatusCode() == 204);
        check("auth returns the id", headers.get("X-Session-Id").equals(List.of("ann")));
        // The decoder also treats + as a space, but the service sends %2B and %20.
        var name = URLDecoder.decode(headers.get("X-Session-Data-Name").get(0), StandardCharsets.UTF_8);
        var cart = headers.get("X-Session-Data-Cart").get(0);
        check("auth returns data", List.of(name, cart).equals(List.of(DATA.get("name"), "5")));
        var before = sessions.get(APP, token).getR();
        sessions.auth(APP, null, 0, token, null);
        check("auth with touch 0 does not count", sessions.get(APP, token).getR() == before + 1);
        var error = failure(() -> sessions.auth(APP, null, null, "A".repeat(64), null));
        check("auth without a session is a 401", is(error, 401, "unauthorized"));

        var fixed = sessions.create(APP, "ann", IP, null, true, null).getToken();
        session = sessions.get(APP, fixed);
        check("no_resave is returned", session.getNoResave());
        check("a session without data has no d", none(session.getD()));
        var empty = sessions.create(APP, "ann", IP, null, null, Map.of()).getToken();
        check("an empty map stores no data", none(sessions.get(APP, empty).getD()));

        var found = lists.soid(APP, "ann", null, null).getSessions();
        check("soid lists the sessions of an id", ids(found).equals(List.of("ann", "ann", "ann")));
        var data = found.stream().map(Session::getD).filter(each -> !none(each)).toList();
        check("soid returns their data", data.equals(List.of(with(DATA, "cart", 5))));
        sessions.create(APP, "bob", IP, null, null, null);
        found = lists.soapp(APP, 600, null, null).getSessions();
        check("soapp lists the sessions of an app", ids(found).equals(List.of("ann", "ann", "ann", "bob")));
        check("activity counts ids", lists.activity(APP, 600).getActivity() == 2);

        for (var user : IDS) {
            var tokenOfUser = sessions.create(APP, user, IP, null, null, null).getToken();
            var read = sessions.get(APP, tokenOfUser).getId().equals(user);
            var listed = ids(lists.soid(APP, user, null, null).getSessions()).equals(List.of(user));
            check("the id " + user + " round-trips", read && listed && lists.killsoid(APP, user).getKill() == 1);
        }

        check("kill ends a session", sessions.kill(APP, token).getKill() == 1);
        check("a second kill finds no session", sessions.kill(APP, token).getKill() == 0);
        session = sessions.get(APP, token);
        var nothing = session.getId() == null && session.getR() == null && none(session.getD());
        check("get of a killed session is empty", nothing);
        check("set of a killed session is empty", sessions.set(APP, token, null, Map.of("cart", 1)).getId() == null);
        check("killsoid ends the sessions of an id", lists.killsoid(APP, "ann").getKill() == 2);
        check("killall ends the sessions of an app", lists.killall(APP).getKill() == 1);
        check("lists are empty after killall", lists.soapp(APP, 600, null, null).getSessions().isEmpty());

        error = failure(() -> sessions.create(APP, "line\nbreak", IP, null, null, null));
        check("a bad id is a 400", is(error, 400, "invalidFormat"));
        check("an error has a message", body(error).getMessage().equals("Invalid id format"));
        error = failure(() -> sessions.create(APP, "ann", IP, null, null, Map.of("list", List.of(1))));
        check("a bad value is a 400", is(error, 400, "invalidValue"));
        error = failure(() -> sessions.create(APP, "ann", IP, null, null, Map.of("large", "x".repeat(60000))));
        check("too much data is a 413", is(error, 413, "tooLarge"));

        var withoutStore = new SessionsApi(connect(args[1]));
        error = failure(() -> withoutStore.create(APP, "ann", IP, null, null, null));
        check("an unreachable store is a 503", is(error, 503, "storeUnavailable"));
        check("a 503 has Retry-After", error.getResponseHeaders().firstValueAsLong("Retry-After").isPresent());
    }
}
