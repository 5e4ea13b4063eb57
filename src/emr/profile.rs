//! An EMR profile: vendor knowledge, written once, shared between hospitals.

/// One route of a profile, as later stages need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTraits {
    /// Whether a WebSocket or long stream may be opened here.
    pub websocket: bool,
    /// Whether the client's `Authorization` header is forwarded.
    pub pass_authorization: bool,
    /// Most bytes of a request body.
    pub body_limit: u64,
    /// Whether answers hold patient data (`Cache-Control: no-store`).
    pub no_store: bool,
}
