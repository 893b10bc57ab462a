//! The encoders behind one face.

use std::io::{Result, Write};

use super::{Coding, Levels};

/// The window of Brotli, as a power of two: half a megabyte, what a response in hand may keep.
const BROTLI_WINDOW: u32 = 19;
const BROTLI_BUFFER: usize = 4096;

/// An encoder that writes into a vector.
pub(super) enum Encoder {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Br(Box<brotli::CompressorWriter<Vec<u8>>>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
}

impl Encoder {
    pub(super) fn new(coding: Coding, levels: Levels) -> Result<Self> {
        Ok(match coding {
            Coding::Zstd => Encoder::Zstd(zstd::stream::write::Encoder::new(Vec::new(), levels.zstd.into())?),
            Coding::Br => {
                let level = levels.br.into();
                let writer = brotli::CompressorWriter::new(Vec::new(), BROTLI_BUFFER, level, BROTLI_WINDOW);
                Encoder::Br(Box::new(writer))
            }
            Coding::Gzip => {
                let level = flate2::Compression::new(levels.gzip.into());
                Encoder::Gzip(flate2::write::GzEncoder::new(Vec::new(), level))
            }
        })
    }

    /// What comes out when this goes in: with `flush` everything that the other side needs to read all of it.
    pub(super) fn encode(&mut self, piece: &[u8], flush: bool) -> Result<Vec<u8>> {
        let writer: &mut dyn Write = match self {
            Encoder::Zstd(writer) => writer,
            Encoder::Br(writer) => writer,
            Encoder::Gzip(writer) => writer,
        };
        writer.write_all(piece)?;
        if flush {
            writer.flush()?;
        }
        Ok(std::mem::take(match self {
            Encoder::Zstd(writer) => writer.get_mut(),
            Encoder::Br(writer) => writer.get_mut(),
            Encoder::Gzip(writer) => writer.get_mut(),
        }))
    }

    /// The rest.
    pub(super) fn finish(self) -> Result<Vec<u8>> {
        match self {
            Encoder::Zstd(writer) => writer.finish(),
            Encoder::Br(writer) => Ok(writer.into_inner()),
            Encoder::Gzip(writer) => writer.finish(),
        }
    }
}
