//! A client of one node.

mod answer;
pub(crate) mod call;
mod classify;
mod config;
mod dial;
mod first;
mod install;
mod probe;
mod stream;
mod tls;

use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

pub(crate) use answer::{Envelope, Frame};
pub use config::{ClientConfig, Identity, PORT, Timeouts, Trust};
pub use dial::Dialer;
pub use install::wait_for_install;
pub use probe::{Found, probe};
pub use stream::Chunks;
pub use tls::Fingerprint;

use crate::config::release::GRPC_MESSAGE_MAX;
use crate::error::{Error, ErrorKind};
use call::{Call, Limit};

const OPERATION: &str = "prepare the client";

type Result<T> = std::result::Result<T, Error>;

/// A client of one node. Cheap to clone; clones share one connection, which is opened when it is
/// needed and opened again after it broke.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    address: IpAddr,
    name: String,
    target: Option<MetadataValue<Ascii>>,
    trust: Trust,
    timeouts: Timeouts,
    seen: Arc<Mutex<Option<Fingerprint>>>,
}

impl Client {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    /// Credentials cannot be used.
    ///
    /// # Panics
    /// Outside of a Tokio runtime, in which it keeps its connection.
    pub fn new(config: ClientConfig) -> Result<Self> {
        let (endpoint, connector, inner) = prepare(config)?;
        Ok(Self { channel: endpoint.connect_with_connector_lazy(connector), inner })
    }

    /// Makes a client and connects: with mutual TLS the node is verified; whether it accepts the
    /// client's certificate shows at the first call.
    ///
    /// # Errors
    /// Credentials cannot be used, or the node cannot be reached or is another.
    pub async fn connect(config: ClientConfig) -> Result<Self> {
        let (endpoint, connector, inner) = prepare(config)?;
        let channel = endpoint
            .connect_with_connector(connector)
            .await
            .map_err(|error| classify::transport(&error, "connect").at(&inner.name))?;
        Ok(Self { channel, inner })
    }

    /// The address that names the node.
    pub fn address(&self) -> IpAddr {
        self.inner.address
    }

    /// Whom this client trusts.
    pub fn trust(&self) -> &Trust {
        &self.inner.trust
    }

    /// It talks to the node without a client certificate.
    pub fn is_maintenance(&self) -> bool {
        matches!(self.inner.trust, Trust::Maintenance { .. })
    }

    /// Fingerprint of the key that the node showed when the last connection was opened.
    pub fn peer_fingerprint(&self) -> Option<Fingerprint> {
        *self.inner.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        self.inner.timeouts
    }

    fn limit(&self, call: &Call) -> Duration {
        let Timeouts { call: short, long, etcd, .. } = self.inner.timeouts;
        match call.limit {
            Limit::Call => short,
            Limit::Long => long,
            Limit::Etcd => etcd,
        }
    }

    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(target) = &self.inner.target {
            request.metadata_mut().insert("node", target.clone());
        }
        request
    }

    async fn grpc(&self, call: &Call) -> Result<Grpc<Channel>> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(GRPC_MESSAGE_MAX);
        grpc.ready().await.map_err(|error| self.broken(call, &error, false))?;
        Ok(grpc)
    }

    fn broken(&self, call: &Call, error: &tonic::transport::Error, sent: bool) -> Error {
        let error = classify::transport(error, call.name).at(&self.inner.name);
        error.maybe_applied(sent && call.changes)
    }

    pub(crate) fn failed(&self, call: &Call, status: &Status) -> Error {
        classify::status(call, status).at(&self.inner.name)
    }

    /// What an element of a stream says of a failure.
    pub(crate) fn told(
        &self,
        call: &Call,
        metadata: &crate::proto::common::Metadata,
    ) -> Option<Error> {
        classify::envelope(call, metadata).map(|error| error.at(&self.inner.name))
    }

    /// An answer that cannot be used.
    pub(crate) fn odd(&self, call: &Call, message: impl Into<String>) -> Error {
        Error::protocol(call.name, message).at(&self.inner.name).maybe_applied(call.changes)
    }

    pub(crate) fn named(&self, error: Error) -> Error {
        error.at(&self.inner.name)
    }

    /// What a caller gave cannot be used.
    pub(crate) fn refused(&self, call: &Call, message: impl Into<String>) -> Error {
        Error::config(call.name, message).at(&self.inner.name)
    }

    /// Waits for an answer no longer than the call may take.
    pub(crate) async fn within<T>(
        &self,
        call: &Call,
        limit: Duration,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match tokio::time::timeout(limit, work).await {
            Ok(done) => done,
            Err(_) => {
                let text = format!("no answer within {limit:?}");
                let error = Error::new(ErrorKind::Timeout, call.name, text);
                Err(error.at(&self.inner.name).maybe_applied(call.changes))
            }
        }
    }

    /// One request, one answer. A call is repeated once when nothing of it was sent, because the
    /// connection had broken since the last call; one that only reads also when the connection
    /// broke under it.
    pub(crate) async fn unary<M, A>(&self, call: &Call, message: M) -> Result<A>
    where
        M: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.unary_within(call, message, self.limit(call)).await
    }

    async fn unary_within<M, A>(&self, call: &Call, message: M, limit: Duration) -> Result<A>
    where
        M: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let mut again = Again::default();
        loop {
            match self.unary_once(call, message.clone(), limit).await {
                Err(error) if again.may(call, &error) => {}
                done => return done,
            }
        }
    }

    async fn unary_once<M, A>(&self, call: &Call, message: M, limit: Duration) -> Result<A>
    where
        M: Message + 'static,
        A: Message + Default + 'static,
    {
        let work = async {
            let mut grpc = self.grpc(call).await?;
            let path = PathAndQuery::from_static(call.path);
            let codec: ProstCodec<M, A> = ProstCodec::default();
            let answer = grpc.unary(self.request(message), path, codec).await;
            answer.map(tonic::Response::into_inner).map_err(|status| self.failed(call, &status))
        };
        self.within(call, limit, work).await
    }

    /// One request; the answer of this one node out of the envelope.
    pub(crate) async fn ask<M, A>(&self, call: &Call, message: M) -> Result<A::Item>
    where
        M: Message + Clone + 'static,
        A: Envelope + Message + Default + 'static,
    {
        self.ask_within::<M, A>(call, message, self.limit(call)).await
    }

    /// The same with a time limit of its own.
    pub(crate) async fn ask_within<M, A>(
        &self,
        call: &Call,
        message: M,
        limit: Duration,
    ) -> Result<A::Item>
    where
        M: Message + Clone + 'static,
        A: Envelope + Message + Default + 'static,
    {
        let answer = self.unary_within::<M, A>(call, message, limit).await?;
        self.first(call, answer)
    }

    /// The answer of this one node out of an envelope.
    fn first<A: Envelope>(&self, call: &Call, answer: A) -> Result<A::Item> {
        let Some(item) = answer.items().into_iter().next() else {
            return Err(self.odd(call, "the node sent an empty answer"));
        };
        match A::metadata(&item).and_then(|metadata| classify::envelope(call, metadata)) {
            Some(error) => Err(self.named(error)),
            None => Ok(item),
        }
    }

    /// One request, many answers, which the caller reads.
    pub(crate) async fn open<M, A>(&self, call: &Call, message: M) -> Result<Streaming<A>>
    where
        M: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let mut again = Again::default();
        loop {
            let work = async {
                let mut grpc = self.grpc(call).await?;
                let path = PathAndQuery::from_static(call.path);
                let codec: ProstCodec<M, A> = ProstCodec::default();
                let request = self.request(message.clone());
                let answer = grpc.server_streaming(request, path, codec).await;
                answer.map(tonic::Response::into_inner).map_err(|status| self.failed(call, &status))
            };
            match self.within(call, self.limit(call), work).await {
                Err(error) if again.may(call, &error) => {}
                done => return done,
            }
        }
    }

    /// One request; all answers of a stream that ends by itself, or as many bytes as a limit
    /// allows.
    pub(crate) async fn gather<M, A>(&self, call: &Call, message: M) -> Result<Vec<A>>
    where
        M: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let mut again = Again::default();
        loop {
            let work = async {
                let mut stream = self.open::<M, A>(call, message.clone()).await?;
                let (mut all, mut bytes) = (Vec::new(), 0usize);
                while let Some(next) = stream.next().await {
                    let item = next.map_err(|status| self.failed(call, &status))?;
                    bytes = bytes.saturating_add(item.encoded_len());
                    if bytes > GRPC_MESSAGE_MAX * 2 {
                        return Err(self.odd(call, "the answer is longer than 64 MiB"));
                    }
                    all.push(item);
                }
                Ok(all)
            };
            match self.within(call, self.limit(call), work).await {
                Err(error) if again.may(call, &error) => {}
                done => return done,
            }
        }
    }

    /// The bytes of a stream of chunks, no more than `most`.
    pub(crate) async fn bytes<M>(&self, call: &Call, message: M, most: usize) -> Result<Vec<u8>>
    where
        M: Message + Clone + 'static,
    {
        let work = async {
            let mut stream = self.open::<M, Frame>(call, message).await?;
            let mut all = Vec::new();
            while let Some(next) = stream.next().await {
                let frame = next.map_err(|status| self.failed(call, &status))?;
                if let Some(error) =
                    frame.metadata.as_ref().and_then(|metadata| classify::envelope(call, metadata))
                {
                    return Err(error.at(&self.inner.name));
                }
                if all.len() + frame.bytes.len() > most {
                    return Err(self.odd(call, format!("the answer is longer than {most} bytes")));
                }
                all.extend_from_slice(&frame.bytes);
            }
            Ok(all)
        };
        self.within(call, self.limit(call), work).await
    }
}

/// How often a call has been repeated.
#[derive(Default)]
struct Again {
    stale: u8,
    broke: bool,
}

impl Again {
    /// A connection, of this client or behind the node, broke: before anything was sent, or under
    /// a call that only reads.
    fn may(&mut self, call: &Call, error: &Error) -> bool {
        if error.is_stale() {
            self.stale += 1;
            return self.stale <= 2;
        }
        let broke = matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::Unavailable);
        broke && !call.changes && !std::mem::replace(&mut self.broke, true)
    }
}

fn prepare(config: ClientConfig) -> Result<(Endpoint, dial::Connector, Arc<Inner>)> {
    let name = match (config.address, config.port) {
        (address, PORT) => address.to_string(),
        (address, port) => std::net::SocketAddr::new(address, port).to_string(),
    };
    let target = match &config.target {
        None => None,
        Some(target) => Some(MetadataValue::try_from(target.as_str()).map_err(|_| {
            Error::config(OPERATION, "the target of forwarding is neither address nor name")
        })?),
    };
    let authority = std::net::SocketAddr::new(config.address, config.port);
    let uri = format!("https://{authority}");
    let odd = |_| Error::config(OPERATION, "the address makes no URI");
    let origin: http::Uri = uri.parse().map_err(odd)?;
    let mut endpoint = Endpoint::from(origin.clone())
        .origin(origin)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    if let Some(interval) = config.ping {
        endpoint = endpoint.http2_keep_alive_interval(interval).keep_alive_timeout(interval * 2);
    }
    let seen = Arc::new(Mutex::new(None));
    let connector = dial::Connector {
        address: config.address,
        port: config.port,
        dialer: config.dialer,
        tls: Arc::new(tls::settings(&config.trust)?),
        limit: config.timeouts.connect,
        seen: Arc::clone(&seen),
    };
    let name = match &config.target {
        Some(target) => format!("{target} via {name}"),
        None => name,
    };
    let inner = Inner {
        address: config.address,
        name,
        target,
        trust: config.trust,
        timeouts: config.timeouts,
        seen,
    };
    Ok((endpoint, connector, Arc::new(inner)))
}
