import java.util.Map;
import org.apache.catalina.Context;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.util.descriptor.web.ErrorPage;
import org.apache.tomcat.util.descriptor.web.FilterDef;
import org.apache.tomcat.util.descriptor.web.FilterMap;

/** Runs {@link Edges} in Tomcat: PORT FOLDER [virtual]. Some contexts have settings with which they must not start. */
final class OnTomcat {
    public static void main(String[] args) throws Exception {
        var tomcat = new Tomcat();
        tomcat.setBaseDir(args[1]);
        tomcat.setPort(Integer.parseInt(args[0]));
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        if (args.length > 2 && !tomcat.getConnector().setProperty("useVirtualThreads", "true")) {
            throw new IllegalStateException("no virtual threads");
        }
        context(tomcat, "", Map.of(), "REQUEST");
        context(tomcat, "/all", Map.of(), "REQUEST", "FORWARD", "INCLUDE", "ERROR", "ASYNC");
        var shaped = context(tomcat, "/shaped", Map.of(), "REQUEST");
        shaped.addServletContainerInitializer((classes, servlets) -> {
            var cookie = servlets.getSessionCookieConfig();
            cookie.setName("mine");
            cookie.setDomain("example.com");
            cookie.setPath("/shaped");
            cookie.setMaxAge(3600);
            cookie.setAttribute("SameSite", "Strict");
        }, null);
        // These three settings are not part of the servlet API.
        var outside = context(tomcat, "/outside", Map.of("secure", "false"), "REQUEST");
        outside.setSessionCookieName("theirs");
        outside.setSessionCookieDomain("example.org");
        outside.setSessionCookiePath("/outside");

        context(tomcat, "/unknown", Map.of("cokie", "typing error"), "REQUEST");
        context(tomcat, "/host", Map.of("cookie", "__Host-s"), "REQUEST").setSessionCookiePath("/host");
        context(tomcat, "/no-cookies", Map.of(), "REQUEST").setCookies(false);
        context(tomcat, "/at-once", Map.of(), "REQUEST").addServletContainerInitializer(
                (classes, servlets) -> servlets.getSessionCookieConfig().setMaxAge(0), null);
        tomcat.start();
        tomcat.getServer().await();
    }

    private static Context context(Tomcat tomcat, String path, Map<String, String> parameters, String... dispatchers) {
        var context = tomcat.addContext(path, null);
        context.setSessionTimeout(20);
        var filter = new FilterDef();
        filter.setFilterName("sessions");
        filter.setFilterClass(RestSessionsFilter.class.getName());
        filter.setAsyncSupported("true");
        parameters.forEach(filter::addInitParameter);
        context.addFilterDef(filter);
        var everything = new FilterMap();
        everything.setFilterName("sessions");
        everything.addURLPattern("/*");
        for (var dispatcher : dispatchers) {
            everything.setDispatcher(dispatcher);
        }
        context.addFilterMap(everything);
        var page = new ErrorPage();
        page.setErrorCode(500);
        page.setLocation("/error");
        context.addErrorPage(page);
        Tomcat.addServlet(context, "edges", new Edges()).setAsyncSupported(true);
        context.addServletMappingDecoded("/*", "edges");
        return context;
    }
}
