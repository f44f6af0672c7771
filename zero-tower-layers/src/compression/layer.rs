//! The builder: which codings, how hard, for which responses.

use tower_layer::Layer;

use super::level::CompressionLevel;
use super::policy::{Coding, Offer};
use super::predicate::{DefaultPredicate, Predicate};
use super::service::ZeroCompression;

/// Compresses response bodies. See the [module](super).
#[derive(Clone, Debug, Default)]
pub struct ZeroCompressionLayer<P = DefaultPredicate> {
    choice: Choice,
    predicate: P,
}

/// What the builder methods of layer and service set.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Choice {
    pub(super) offer: Offer,
    pub(super) manner: Manner,
}

/// How a body is encoded, whatever the coding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) quality: CompressionLevel,
    pub(super) begins_early: bool,
    pub(super) keeps_encoders: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            quality: CompressionLevel::Default,
            begins_early: true,
            keeps_encoders: true,
        }
    }
}

impl ZeroCompressionLayer {
    /// Offers all codings that were compiled in, at their default levels, for responses that
    /// [`DefaultPredicate`] takes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compresses the responses that `predicate` takes. Default: [`DefaultPredicate`].
    pub fn compress_when<C: Predicate>(self, predicate: C) -> ZeroCompressionLayer<C> {
        ZeroCompressionLayer {
            choice: self.choice,
            predicate,
        }
    }
}

/// The builder methods that layer and service share, for a type with a field `choice`.
macro_rules! choice_builders {
    () => {
        /// Whether gzip is offered. Default: yes.
        #[cfg(feature = "compression-gzip")]
        pub fn gzip(mut self, enable: bool) -> Self {
            self.choice.offer.set(Coding::Gzip, enable);
            self
        }

        /// Whether deflate is offered. Default: yes.
        #[cfg(feature = "compression-deflate")]
        pub fn deflate(mut self, enable: bool) -> Self {
            self.choice.offer.set(Coding::Deflate, enable);
            self
        }

        /// Whether br is offered. Default: yes.
        #[cfg(feature = "compression-br")]
        pub fn br(mut self, enable: bool) -> Self {
            self.choice.offer.set(Coding::Brotli, enable);
            self
        }

        /// Whether zstd is offered. Default: yes.
        #[cfg(feature = "compression-zstd")]
        pub fn zstd(mut self, enable: bool) -> Self {
            self.choice.offer.set(Coding::Zstd, enable);
            self
        }

        /// Sets the level. Default: [`CompressionLevel::Default`].
        pub fn quality(mut self, quality: CompressionLevel) -> Self {
            self.choice.manner.quality = quality;
            self
        }

        /// Whether something of a long body is sent after 64 KiB of it at the latest. Default: `true`.
        /// `false` leaves it to the encoder when to begin, as tower-http does.
        pub fn begin_early(mut self, enable: bool) -> Self {
            self.choice.manner.begins_early = enable;
            self
        }

        /// Whether threads keep encoders from one response for the next. Default: `true`. `false` makes one
        /// for each response and frees it with the body, as tower-http does: less memory between
        /// responses, and more time for each.
        pub fn keep_encoders(mut self, enable: bool) -> Self {
            self.choice.manner.keeps_encoders = enable;
            self
        }

        /// Does not offer gzip, compiled in or not.
        pub fn no_gzip(mut self) -> Self {
            self.choice.offer.set(Coding::Gzip, false);
            self
        }

        /// Does not offer deflate, compiled in or not.
        pub fn no_deflate(mut self) -> Self {
            self.choice.offer.set(Coding::Deflate, false);
            self
        }

        /// Does not offer br, compiled in or not.
        pub fn no_br(mut self) -> Self {
            self.choice.offer.set(Coding::Brotli, false);
            self
        }

        /// Does not offer zstd, compiled in or not.
        pub fn no_zstd(mut self) -> Self {
            self.choice.offer.set(Coding::Zstd, false);
            self
        }
    };
}
pub(super) use choice_builders;

impl<P> ZeroCompressionLayer<P> {
    choice_builders!();
}

impl<S, P: Predicate> Layer<S> for ZeroCompressionLayer<P> {
    type Service = ZeroCompression<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        ZeroCompression {
            inner,
            choice: self.choice,
            predicate: self.predicate.clone(),
        }
    }
}
