//! Messages that readers could take apart differently: over HTTP/1 and HTTP/2 to a backend that records every byte, and from
//! backends that break the rules. The messages are in `tests/corpus`, each with what becomes of it.

mod case;
mod frames;
mod http1;
mod http2;
mod recorder;
mod responses;
