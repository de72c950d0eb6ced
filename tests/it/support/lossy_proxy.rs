//! A TCP proxy that can lose replies: requests still reach the server, and then the connections are cut.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::watch::{self, Receiver, Sender},
};

/// Listens until the test ends.
pub(crate) struct LossyProxy {
    address: SocketAddr,
    /// Whether replies are dropped. A change to false cuts every connection.
    losing: Sender<bool>,
}

impl LossyProxy {
    /// A proxy to a port on the loopback interface.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (losing, state) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = state.clone();
                // An I/O error ends the connection and nothing else.
                tokio::spawn(async move { connection(client, port, state).await });
            }
        });
        Self { address, losing }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drops all replies from now on.
    pub(crate) fn lose_replies(&self) {
        self.losing.send_replace(true);
    }

    /// Cuts every connection. New connections work normally.
    pub(crate) fn cut(&self) {
        self.losing.send_replace(false);
    }
}

async fn connection(client: TcpStream, port: u16, mut state: Receiver<bool>) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let replies = async {
        let mut losing = *state.borrow_and_update();
        let mut buffer = vec![0; 16384];
        loop {
            tokio::select! {
                read = from_server.read(&mut buffer) => match read? {
                    0 => return Ok(()),
                    _ if losing => {}
                    length => to_client.write_all(&buffer[..length]).await?,
                },
                changed = state.changed() => {
                    losing = *state.borrow_and_update();
                    if changed.is_err() || !losing {
                        return Ok(());
                    }
                }
            }
        }
    };
    tokio::select! {
        result = replies => result,
        result = copy(&mut from_client, &mut to_server) => result.map(drop),
    }
}
