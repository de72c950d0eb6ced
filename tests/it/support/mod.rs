//! Test support: in-process servers on free ports, a client for the routes, private Redis servers and clusters,
//! proxies.

pub(crate) mod answer;
pub(crate) mod app;
mod eventually;
pub(crate) mod lossy_proxy;
pub(crate) mod raw;
pub(crate) mod redis_cluster;
pub(crate) mod redis_server;
pub(crate) mod reply_proxy;
pub(crate) mod server;
mod side_by_side;

pub(crate) use self::{
    answer::{Answer, NO_TOKEN, Session, json},
    app::App,
    eventually::eventually,
    server::{START, Server, Store},
    side_by_side::side_by_side,
};

/// Makes each named `async fn(Store)` a test of every store. The compiler reports an unnamed function as dead code.
macro_rules! for_every_store {
    ($($test:ident),+ $(,)?) => {
        $crate::support::for_one_store!(embedded, Embedded, $($test),+);
        $crate::support::for_one_store!(redis, Redis, $($test),+);
        $crate::support::for_one_store!(cluster, Cluster, $($test),+);
    };
}

/// The tests of [`for_every_store`] for one store.
macro_rules! for_one_store {
    ($store:ident, $variant:ident, $($test:ident),+) => {
        mod $store {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test($crate::support::Store::$variant).await;
                }
            )+
        }
    };
}

pub(crate) use {for_every_store, for_one_store};
