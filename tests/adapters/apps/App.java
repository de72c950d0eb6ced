import jakarta.servlet.AsyncContext;
import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.util.descriptor.web.FilterDef;
import org.apache.tomcat.util.descriptor.web.FilterMap;

/** The test app as a servlet in Tomcat. All apps here have the same routes; check.py describes them. */
public final class App extends HttpServlet {
    private static final long serialVersionUID = 1L;

    public static void main(String[] args) throws Exception {
        var tomcat = new Tomcat();
        tomcat.setBaseDir(args[1]);
        tomcat.setPort(Integer.parseInt(args[0]));
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        var context = tomcat.addContext("", args[1]);
        context.setSessionTimeout(20);
        var filter = new FilterDef();
        filter.setFilterName("sessions");
        filter.setFilterClass(RestSessionsFilter.class.getName());
        filter.setAsyncSupported("true");
        context.addFilterDef(filter);
        var everything = new FilterMap();
        everything.setFilterName("sessions");
        everything.addURLPattern("/*");
        context.addFilterMap(everything);
        Tomcat.addServlet(context, "app", new App()).setAsyncSupported(true);
        context.addServletMappingDecoded("/*", "app");
        tomcat.start();
        tomcat.getServer().await();
    }

    @Override
    protected void service(HttpServletRequest request, HttpServletResponse response)
            throws IOException, ServletException {
        if (request.getRequestURI().equals("/late")) {
            late(request.startAsync());
            return;
        }
        try {
            // Uses the filter's own JSON; check.py compares the result in the service.
            var body = new String(request.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            var answer = answer(request, (Map<?, ?>) RestSessionsFilter.Json.read(body.isEmpty() ? "{}" : body));
            response.setContentType("application/json;charset=utf-8");
            response.getWriter().print(RestSessionsFilter.Json.write(answer));
        } catch (InterruptedException e) {
            throw new ServletException(e);
        }
    }

    /** Changes the session after the filters have finished with the request. */
    private static void late(AsyncContext context) {
        context.start(() -> {
            try {
                Thread.sleep(300);
                var out = context.getResponse().getWriter();
                ((HttpServletRequest) context.getRequest()).getSession().setAttribute("late", true);
                out.print("{}");
                context.complete();
            } catch (IOException | InterruptedException e) {
                throw new IllegalStateException(e);
            }
        });
    }

    private Map<String, Object> answer(HttpServletRequest request, Map<?, ?> body)
            throws IOException, InterruptedException {
        switch (request.getRequestURI()) {
            case "/read" -> {
                return data(request);
            }
            case "/write" -> {
                request.getSession();
                if (body.get("hold") instanceof String hold) {
                    Files.createFile(Path.of(hold + ".waiting"));
                    while (!Files.exists(Path.of(hold))) {
                        Thread.sleep(20);
                    }
                }
                var session = request.getSession();
                if (body.get("set") instanceof Map<?, ?> set) {
                    set.forEach((key, value) -> session.setAttribute((String) key, value));
                }
                if (body.get("remove") instanceof List<?> remove) {
                    remove.forEach(key -> session.removeAttribute((String) key));
                }
                return data(request);
            }
            case "/push" -> {
                var session = request.getSession();
                var cart = (Map<?, ?>) session.getAttribute("cart");
                @SuppressWarnings("unchecked")
                var items = (List<Object>) cart.get("items");
                items.add(body.get("item"));
                return data(request);
            }
            case "/bad" -> {
                request.getSession().setAttribute("fine", 1);
                request.getSession().setAttribute("bad", body.get("kind").equals("nan") ? Double.NaN : Instant.now());
            }
            case "/login" -> {
                if (request.getSession(false) != null) {
                    request.changeSessionId();
                }
                request.getSession().setAttribute("user_id", body.get("user"));
                return Map.of("user", body.get("user"));
            }
            case "/long" -> {
                request.getSession().setAttribute("long", true);
                return Map.of("long", "x".repeat(100000)); // more than Tomcat buffers
            }
            case "/logout" -> request.getSession().invalidate();
            case "/everywhere" -> {
                var user = (String) body.get("user");
                return Map.of("kill", RestSessionsFilter.logoutEverywhere(getServletContext(), user));
            }
            default -> {
                return Map.of();
            }
        }
        return Map.of();
    }

    private static Map<String, Object> data(HttpServletRequest request) {
        var data = new LinkedHashMap<String, Object>();
        var session = request.getSession(false);
        if (session != null) {
            Collections.list(session.getAttributeNames()).forEach(name -> data.put(name, session.getAttribute(name)));
        }
        return data;
    }
}
