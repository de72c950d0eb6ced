//! The service accepts exactly the inputs that the schemas accept; further accepted inputs are described in words.

use serde_json::{Value, json};

use super::{contract::Node, request::Request, schema::check};
use crate::support::{Answer, Server, Store, json as parse};

/// Whether the service accepts the request. Otherwise it must answer 400.
async fn is_accepted(server: &Server, request: &Request) -> bool {
    let answer = Answer::of(request.at(server.client(), &server.url(""))).await;
    match answer.status {
        // 401 too: the session is looked up after all checks.
        200 | 204 | 401 => true,
        400 => false,
        _ => panic!("{request:?} {answer:?}"),
    }
}

/// A parameter's text as a JSON value of its declared type.
fn value(parameter: &Node, text: &str) -> Value {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    match parameter.to(["schema"]).text("type") {
        "integer" if plain => text.parse::<i64>().map_or(json!(text), |number| json!(number)),
        "boolean" if text == "true" || text == "false" => json!(text == "true"),
        _ => json!(text),
    }
}

/// A valid cursor and malformed ones. Well-formed cursors that the service refuses are beyond a schema.
fn cursors(operation: &str) -> Vec<String> {
    let cursor = Request::of(operation).value("cursor").to_owned();
    let malformed = [
        "0".to_owned(),
        String::new(),
        cursor.to_uppercase(),
        format!("{cursor}0"),
        cursor[1..].to_owned(),
    ];
    [cursor].into_iter().chain(malformed).collect()
}

/// Asserts that an operation accepts these values of a parameter exactly if the schema accepts them.
async fn assert_accepted_as_declared(server: &Server, operation: &str, name: &str, texts: Vec<String>) {
    let mut request = Request::of(operation);
    if request.has("cursor") && name != "cursor" {
        // The example cursor fits only the app and the id of the examples.
        request = request.without("cursor");
    }
    let parameters = request.operation().parameters();
    let parameter = parameters
        .iter()
        .find(|parameter| parameter.text("name") == name)
        .expect("a declared parameter");
    for text in texts {
        let empty = text.is_empty() && parameter.value["allowEmptyValue"] == true;
        let valid = check(&parameter.to(["schema"]), &value(parameter, &text));
        let accepted = is_accepted(server, &request.clone().with(name, &text)).await;
        assert_eq!(
            accepted,
            empty || valid.is_ok(),
            "{operation} {name}={text:?}: {valid:?}"
        );
    }
    let required = parameter.value["required"] == true;
    if parameter.text("in") == "query" {
        assert_eq!(
            is_accepted(server, &request.without(name)).await,
            !required,
            "{operation} without {name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_are_accepted_as_declared() {
    let server = Server::start(Store::Embedded).await;
    let (x, wide) = (|length| "x".repeat(length), |length| "한".repeat(length));
    let seconds = [
        "0",
        "9",
        "10",
        "11",
        "2147483647",
        "2147483648",
        "-10",
        "1.5",
        "ten",
        "null",
    ]
    .map(str::to_owned);
    let controls = ["\0", "a\nb", "\u{1f}", "\u{7f}", "\u{80}", "\u{9f}"].map(str::to_owned);
    let apps = [
        x(2),
        x(3),
        x(20),
        x(21),
        "a_-9".into(),
        "a.b".into(),
        "a b".into(),
        "abü".into(),
    ];
    let ids = [
        x(1),
        x(255),
        x(256),
        wide(255),
        wide(256),
        "a/b?c#d:%e".into(),
        " ".into(),
        "\u{a0}".into(),
    ];
    let breaks = ["a\u{2028}", "\u{2029}", "\u{202a}", "\u{1f600}"].map(str::to_owned);
    let tokens = [x(63), x(64), x(65), format!("{}-", x(63)), format!("{}ü", x(62))];
    let ips = [
        x(1),
        x(39),
        x(40),
        wide(39),
        wide(40),
        "::1".into(),
        "a, b".into(),
        "\u{2028}".into(),
    ];
    for (operation, name, texts) in [
        ("soid", "app", apps.to_vec()),
        ("soid", "id", [&ids[..], &controls, &breaks].concat()),
        ("killsoid", "id", [&ids[..], &controls, &breaks].concat()),
        ("get", "token", tokens.to_vec()),
        ("create", "ip", [&ips[..], &controls].concat()),
        ("create", "ttl", [&seconds[..], &[String::new()]].concat()),
        ("create", "no_resave", ["true", "false"].map(str::to_owned).to_vec()),
        ("activity", "dt", [&seconds[..], &[String::new()]].concat()),
        (
            "auth",
            "touch",
            ["0", "1", "2", "-1", "true", ""].map(str::to_owned).to_vec(),
        ),
        ("soapp", "dt", [&seconds[..], &[String::new()]].concat()),
        (
            "soapp",
            "limit",
            ["1", "2147483647", "0", "-1", "2147483648", "ten", ""]
                .map(str::to_owned)
                .to_vec(),
        ),
        ("soapp", "cursor", cursors("soapp")),
        ("soid", "cursor", cursors("soid")),
        ("soid", "limit", ["1", "0", "ten"].map(str::to_owned).to_vec()),
    ] {
        assert_accepted_as_declared(&server, operation, name, texts).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_accepted_as_declared() {
    let server = Server::start(Store::Embedded).await;
    for request in [Request::of("create"), Request::of("set").without("unset")] {
        let operation = request.operation().id();
        let body = request.operation().node.to(["requestBody"]);
        for text in [
            r#"{"a":1}"#,
            r#"{"a":-0.5e300,"b":"","c":true,"d":false}"#,
            r#"{"":"empty","é":"ü"}"#,
            r#"{"a":null}"#,
            "{}",
            "null",
            r#"{"a":[]}"#,
            r#"{"a":[1]}"#,
            r#"{"a":[1,2]}"#,
            r#"{"a":{}}"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":1,"b":[]}"#,
            "[1]",
            "[{}]",
            "1",
            "true",
            r#""a""#,
        ] {
            let valid = check(&body.to(["content", "application/json", "schema"]), &parse(text));
            let accepted = is_accepted(&server, &request.clone().body(text)).await;
            assert_eq!(accepted, valid.is_ok(), "{operation} {text}: {valid:?}");
        }
        assert_ne!(body.value["required"], true, "{operation}");
    }
    for operation in ["create", "set"] {
        assert!(
            is_accepted(&server, &Request::of(operation).body("")).await,
            "{operation} without a body"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inputs_accepted_beyond_the_schemas_are_described() {
    let server = Server::start(Store::Embedded).await;
    let create = || Request::of("create");
    let long = "0000:0000:0000:0000:0000:ffff:255.255.255.255";
    for (request, place, words) in [
        (
            create().body("[]"),
            "/paths/~1{app}~1create~1{id}/put",
            "An empty array `[]` counts as `{}`",
        ),
        (
            Request::of("set").body("{}"),
            "/paths/~1{app}~1set~1{token}/post",
            "With it, the body may be absent, `{}`, `[]` or `null`",
        ),
        (
            create().with("no_resave", "1"),
            "/components/parameters/no_resave",
            "`true` or `1`",
        ),
        (
            create().with("no_resave", "yes"),
            "/components/parameters/no_resave",
            "other value counts as `false`",
        ),
        (
            create().with("ip", long),
            "/components/parameters/ip",
            "An IP address may be longer",
        ),
        (
            create().with("ip", "fe80:0:0:0:a202:b3ff:fe1e:8329%enp0s31f6"),
            "/components/parameters/ip",
            "with a zone id",
        ),
        (
            create().with("ip", "[2a02:8109:8a40:1f4c:9d5b:37f2:aa0b:4c11]:443"),
            "/components/parameters/ip",
            "the address without the port is stored",
        ),
        (
            create().body("\u{feff}{\"a\":1}"),
            "/info",
            "A byte order mark before it is skipped",
        ),
    ] {
        assert!(is_accepted(&server, &request).await, "{request:?}");
        let text = super::contract::at(place).text("description").replace('\n', " ");
        assert!(text.contains(words), "{place} does not say {words:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn omitted_parameters_have_the_declared_defaults() {
    let server = Server::start(Store::Embedded).await;
    let create = Request::of("create").without("ttl").without("no_resave");
    Answer::of(create.at(server.client(), &server.url(""))).await.ok();
    let list = Answer::of(Request::of("soid").at(server.client(), &server.url(""))).await;
    let session = &parse(list.ok())["sessions"][0];
    for (name, value) in [
        ("ttl", &session["ttl"]),
        ("no_resave", &json!(session["no_resave"] == true)),
    ] {
        let schema = super::contract::at(&format!("/components/parameters/{name}/schema"));
        assert_eq!(&schema.value["default"], value, "{name}");
    }
}
