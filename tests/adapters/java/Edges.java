import jakarta.servlet.AsyncContext;
import jakarta.servlet.DispatcherType;
import jakarta.servlet.RequestDispatcher;
import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Edge cases of the servlet API, one route each. java_checks.py has the expected results. */
public final class Edges extends HttpServlet {
    private static final long serialVersionUID = 1L;

    @Override
    protected void service(HttpServletRequest request, HttpServletResponse response)
            throws IOException, ServletException {
        var included = (String) request.getAttribute(RequestDispatcher.INCLUDE_REQUEST_URI);
        var path = included != null ? included : request.getRequestURI();
        path = path.substring(request.getContextPath().length());
        try {
            if (path.equals("/links")) {
                request.getSession().setAttribute("a", 1);
                response.getWriter().print(response.encodeURL("/x?y") + " " + response.encodeRedirectURL("/z"));
            } else if (!dispatch(path, request, response) && !answer(path, request, response)) {
                response.getWriter().print(session(path, request));
            }
        } catch (InterruptedException e) {
            throw new ServletException(e);
        }
    }

    private static boolean dispatch(String path, HttpServletRequest request, HttpServletResponse response)
            throws IOException, ServletException {
        switch (path) {
            case "/fails" -> {
                request.getSession().setAttribute("a", 1);
                response.sendError(500);
            }
            case "/throws" -> {
                request.getSession().setAttribute("a", 1);
                throw new ServletException("thrown on purpose");
            }
            case "/login-throws" -> {
                login(request, "thrown");
                throw new IllegalStateException("thrown on purpose");
            }
            case "/error" -> {
                var session = request.getSession();
                session.setAttribute("b", 2);
                response.getWriter().print("error page: " + session.getAttribute("a"));
            }
            case "/inner" -> request.getSession().setAttribute("b", 2);
            case "/forward" -> {
                request.getSession().setAttribute("a", 1);
                request.getRequestDispatcher("/inner").forward(request, response);
            }
            case "/include" -> {
                request.getRequestDispatcher("/inner").include(request, response);
                request.getSession().setAttribute("a", 1);
                response.getWriter().print("included");
            }
            case "/async" -> {
                request.getSession().setAttribute("a", 1);
                var context = request.startAsync();
                context.start(() -> late(context));
            }
            case "/async-dispatch" -> {
                if (request.getDispatcherType() == DispatcherType.ASYNC) {
                    request.getSession().setAttribute("b", 2);
                    response.getWriter().print("dispatched");
                } else {
                    request.getSession().setAttribute("a", 1);
                    request.startAsync().dispatch();
                }
            }
            case "/async-timeout" -> {
                request.getSession().setAttribute("a", 1);
                request.startAsync().setTimeout(300);
            }
            case "/async-in-place" -> {
                var list = new ArrayList<>(List.of(1));
                request.getSession().setAttribute("list", list);
                var context = request.startAsync();
                context.start(() -> {
                    sleep(200);
                    list.add(2);
                    context.complete();
                });
            }
            default -> {
                return false;
            }
        }
        return true;
    }

    private static void late(AsyncContext context) {
        sleep(200);
        try {
            ((HttpServletRequest) context.getRequest()).getSession().setAttribute("b", 2);
            context.getResponse().getWriter().print("late");
        } catch (IOException e) {
            throw new IllegalStateException(e);
        } finally {
            context.complete();
        }
    }

    private static boolean answer(String path, HttpServletRequest request, HttpServletResponse response)
            throws IOException {
        switch (path) {
            case "/reset" -> {
                request.getSession().setAttribute("a", 1);
                response.getWriter().print("first");
                response.reset();
            }
            case "/reset-buffer" -> {
                request.getSession().setAttribute("a", 1);
                response.getWriter().print("first");
                response.resetBuffer();
            }
            case "/set-header" -> {
                request.getSession().setAttribute("a", 1);
                response.getWriter();
                response.setHeader("Set-Cookie", "own=1");
            }
            case "/twice" -> { // a new token after the response already has a cookie
                request.getSession().setAttribute("a", 1);
                response.getWriter();
                request.changeSessionId();
            }
            case "/redirect" -> {
                request.getSession().setAttribute("a", 1);
                response.sendRedirect("/who");
            }
            case "/redirect-303" -> {
                request.getSession().setAttribute("a", 1);
                try {
                    HttpServletResponse.class.getMethod("sendRedirect", String.class, int.class)
                            .invoke(response, "/who", 303);
                } catch (ReflectiveOperationException e) {
                    response.sendRedirect("/who"); // Servlet 6.0 does not have this method
                }
            }
            case "/too-late" -> {
                response.getWriter().print("begun");
                response.flushBuffer();
                try {
                    request.getSession().setAttribute("a", 1);
                } catch (IllegalStateException e) {
                    response.getWriter().print(" refused");
                }
            }
            default -> {
                return false;
            }
        }
        return true;
    }

    private static Object session(String path, HttpServletRequest request) throws InterruptedException {
        return switch (path) {
            case "/plain" -> "plain";
            case "/who" -> attribute(request, "who");
            case "/raw" -> names(request);
            case "/write" -> put(request, "w", 1);
            case "/replace" -> put(request, request.getParameter("key"), "replaced");
            case "/login" -> login(request, request.getParameter("user"));
            case "/renew" -> request.changeSessionId().length();
            case "/logout" -> {
                request.getSession().invalidate();
                yield "out";
            }
            case "/again" -> { // another session in the same request
                request.getSession().invalidate();
                yield put(request, "again", 1);
            }
            case "/interval" -> {
                var session = request.getSession();
                session.setMaxInactiveInterval(Integer.parseInt(request.getParameter("n")));
                session.setAttribute("a", 1);
                sleep(100);
                yield session.getMaxInactiveInterval();
            }
            case "/show-interval" -> request.getSession(false).getMaxInactiveInterval();
            case "/nest" -> put(request, "tree", nested(Integer.parseInt(request.getParameter("n"))));
            case "/bad" -> put(request, "bad-key", bad(request.getParameter("kind")));
            case "/address" -> RestSessionsFilter.address(request.getParameter("a"));
            case "/everywhere" ->
                RestSessionsFilter.logoutEverywhere(request.getServletContext(), request.getParameter("user"));
            case "/interrupt" -> interrupted(request);
            case "/threads" -> threads(request);
            default -> throw new IllegalArgumentException("no such path");
        };
    }

    private static Object attribute(HttpServletRequest request, String name) {
        var session = request.getSession(false);
        return session == null ? null : session.getAttribute(name);
    }

    private static Object names(HttpServletRequest request) {
        var names = new ArrayList<String>();
        request.getSession().getAttributeNames().asIterator().forEachRemaining(names::add);
        return names;
    }

    private static String put(HttpServletRequest request, String name, Object value) {
        request.getSession().setAttribute(name, value);
        return "put";
    }

    private static String login(HttpServletRequest request, String user) {
        if (request.getSession(false) != null) {
            request.changeSessionId();
        }
        request.getSession().setAttribute("user_id", user);
        return "in";
    }

    private static Object nested(int levels) {
        Object value = 1;
        for (var i = 0; i < levels; i++) {
            value = i % 2 == 0 ? List.of(value) : Map.of("a", value);
        }
        return value;
    }

    private static Object bad(String kind) {
        var cycle = new ArrayList<Object>();
        cycle.add(cycle);
        return switch (kind) {
            case "cycle" -> cycle;
            case "huge" -> BigInteger.TEN.pow(5000);
            case "half" -> "\ud800";
            case "half-key" -> Map.of("\udc00", 1);
            default -> Double.NaN;
        };
    }

    /** Interrupts itself while the service does not respond, and then calls it again. */
    private static String interrupted(HttpServletRequest request) {
        var self = Thread.currentThread();
        var alarm = new Thread(() -> {
            sleep(300);
            self.interrupt();
        });
        alarm.start();
        var failed = false;
        try {
            request.getSession(false);
        } catch (RuntimeException e) {
            failed = true;
        }
        var flag = Thread.interrupted();
        return "failed=" + failed + " flag=" + flag + " then " + attribute(request, "who");
    }

    private static String threads(HttpServletRequest request) throws InterruptedException {
        var threads = new ArrayList<Thread>();
        for (var i = 0; i < 8; i++) {
            var name = "t" + i;
            var thread = new Thread(() -> request.getSession().setAttribute(name, List.of(name)));
            threads.add(thread);
            thread.start();
        }
        for (var thread : threads) {
            thread.join();
        }
        return "joined";
    }

    private static void sleep(long milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
