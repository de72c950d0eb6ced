import jakarta.servlet.DispatcherType;
import java.net.InetSocketAddress;
import java.util.EnumSet;
import org.eclipse.jetty.ee10.servlet.ErrorPageErrorHandler;
import org.eclipse.jetty.ee10.servlet.FilterHolder;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.handler.ContextHandlerCollection;

/** Runs {@link Edges} in Jetty: PORT. For the newer version, java_checks.py replaces ee10 by ee11. */
final class OnJetty {
    public static void main(String[] args) throws Exception {
        var server = new Server(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])));
        var shaped = context("/shaped", EnumSet.of(DispatcherType.REQUEST));
        var cookie = shaped.getServletContext().getSessionCookieConfig();
        cookie.setName("mine");
        cookie.setDomain("example.com");
        cookie.setPath("/shaped");
        cookie.setMaxAge(3600);
        cookie.setAttribute("SameSite", "Strict");
        server.setHandler(new ContextHandlerCollection(context("/", EnumSet.of(DispatcherType.REQUEST)),
                context("/all", EnumSet.allOf(DispatcherType.class)), shaped));
        server.start();
        server.join();
    }

    private static ServletContextHandler context(String path, EnumSet<DispatcherType> dispatchers) {
        var context = new ServletContextHandler(path, ServletContextHandler.SESSIONS);
        context.getSessionHandler().setMaxInactiveInterval(1200);
        var filter = new FilterHolder(RestSessionsFilter.class);
        filter.setName("sessions");
        filter.setAsyncSupported(true);
        context.addFilter(filter, "/*", dispatchers);
        var edges = new ServletHolder(new Edges());
        edges.setAsyncSupported(true);
        context.addServlet(edges, "/*");
        var pages = new ErrorPageErrorHandler();
        pages.addErrorPage(500, "/error");
        context.setErrorHandler(pages);
        return context;
    }
}
