//! What backends are told of the client, header by header.

/// What becomes of a header that says who the client is. A stranger's own never passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A trusted peer's is kept and added to; a stranger's is replaced.
    Append,
    /// Whoever sent one, it is replaced.
    Set,
    /// A trusted peer's is kept as it came; a stranger's is removed.
    Keep,
    /// It is removed.
    Drop,
}

/// What backends are told of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardedHeaders {
    /// `X-Forwarded-For`, `-Proto` and `-Host`. Default [`Told::Append`].
    pub x_forwarded: Told,
    /// `X-Forwarded-Port`, the port that the client asked for; never [`Told::Append`]. Default [`Told::Keep`].
    pub x_forwarded_port: Told,
    /// `Forwarded` of RFC 7239. With [`Told::Append`] the client is read from it. Default [`Told::Keep`].
    pub forwarded: Told,
    /// `X-Real-IP`, the client's address; never [`Told::Append`]. Default [`Told::Keep`].
    pub x_real_ip: Told,
}

impl Default for ForwardedHeaders {
    fn default() -> Self {
        let (x_forwarded, keep) = (Told::Append, Told::Keep);
        ForwardedHeaders { x_forwarded, x_forwarded_port: keep, forwarded: keep, x_real_ip: keep }
    }
}
