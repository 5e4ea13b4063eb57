//! Sockets that systemd holds open (socket activation): a restart then refuses no connection, it only delays it.
//!
//! *Never*: a socket taken that no `listen` names: what listens is what is configured.

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

use super::ServeError;

/// Listening sockets that were open before this process.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(SocketAddr, TcpListener)>);

impl Inherited {
    /// Takes the sockets that systemd passes to this process (`LISTEN_FDS`); none, where it passes none.
    ///
    /// To be called once, before any thread: the variables are cleared, so that no child takes the sockets for its own.
    ///
    /// # Errors
    /// [`ServeError::Inherited`] for one that is no listening TCP socket.
    pub fn take() -> Result<Self, ServeError> {
        let mut passed = ListenFd::from_env();
        let mut taken = Vec::new();
        for index in 0..passed.len() {
            let listener = passed
                .take_tcp_listener(index)
                .and_then(|listener| match listener {
                    Some(listener) => Ok((listener.local_addr()?, listener)),
                    None => Err(std::io::ErrorKind::NotFound.into()),
                })
                .map_err(|source| ServeError::Inherited { index, source })?;
            taken.push(listener);
        }
        Ok(Self(taken))
    }

    /// The socket that listens at `addr`, if it was passed.
    pub(super) fn at(&mut self, addr: SocketAddr) -> Option<TcpListener> {
        // The very address comes first: `[::]` stands in for `0.0.0.0` only where nothing else does.
        let mut bound = self.0.iter().map(|(bound, _)| *bound);
        let exact = bound.clone().position(|bound| bound == addr);
        let index = exact.or_else(|| bound.position(|bound| serves(bound, addr)))?;
        Some(self.0.swap_remove(index).1)
    }

    /// That every socket was asked for.
    pub(super) fn done(self) -> Result<(), ServeError> {
        match self.0.first() {
            None => Ok(()),
            Some((addr, _)) => Err(ServeError::Unasked { addr: *addr }),
        }
    }
}

/// systemd binds `ListenStream=443` to `[::]:443`, which serves IPv4 too; `0.0.0.0:443` asks for the same.
fn serves(bound: SocketAddr, asked: SocketAddr) -> bool {
    bound.port() == asked.port()
        && bound.ip().is_unspecified()
        && asked.ip().is_unspecified()
        && bound.is_ipv6()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(addresses: &[&str]) -> Inherited {
        let listeners = addresses.iter().map(|address| {
            let listener = TcpListener::bind(address).unwrap();
            (listener.local_addr().unwrap(), listener)
        });
        Inherited(listeners.collect())
    }

    #[test]
    fn a_socket_is_taken_once_and_only_where_it_is_asked_for() {
        let mut inherited = passed(&["127.0.0.1:0", "[::]:0"]);
        let (one, all) = (inherited.0[0].0, inherited.0[1].0);
        let elsewhere = SocketAddr::from(([127, 0, 0, 2], one.port()));
        assert!(inherited.at(elsewhere).is_none());
        assert!(inherited.at(one).is_some());
        assert!(inherited.at(one).is_none());
        let ipv4 = SocketAddr::from(([0, 0, 0, 0], all.port()));
        assert!(inherited.at(ipv4).is_some());
        assert!(inherited.done().is_ok());
    }

    /// As a socket unit with `BindIPv6Only=ipv6-only` binds them.
    fn both_families() -> [(SocketAddr, TcpListener); 2] {
        let v6 = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
        v6.set_only_v6(true).unwrap();
        let any = SocketAddr::from(([0_u16; 8], 0));
        v6.bind(&any.into()).unwrap();
        v6.listen(1).unwrap();
        let v6 = TcpListener::from(v6);
        let v6_addr = v6.local_addr().unwrap();
        let v4 = TcpListener::bind(("0.0.0.0", v6_addr.port())).unwrap();
        [(v6_addr, v6), (v4.local_addr().unwrap(), v4)]
    }

    #[test]
    fn each_family_gets_its_own_socket_in_whatever_order_they_come() {
        let [(v6_addr, v6), (v4_addr, v4)] = both_families();
        let mut inherited = Inherited(vec![(v6_addr, v6), (v4_addr, v4)]);
        for addr in [v4_addr, v6_addr] {
            let taken = inherited.at(addr).unwrap();
            assert_eq!(taken.local_addr().unwrap(), addr);
        }
        assert!(inherited.done().is_ok());
    }

    #[test]
    fn a_socket_that_nobody_asked_for_is_an_error() {
        let refused = passed(&["127.0.0.1:0"]).done().unwrap_err().to_string();
        assert!(refused.contains("no `listen` names"), "{refused}");
    }
}
