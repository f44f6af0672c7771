//! The hooks, which layer and service carry alike, and their builder methods.

use super::{
    DefaultMakeSpan, DefaultOnBodyChunk, DefaultOnEos, DefaultOnFailure, DefaultOnRequest,
    DefaultOnResponse,
};

/// One of each hook.
#[derive(Debug, Copy, Clone)]
pub(super) struct Hooks<MakeSpan, OnRequest, OnResponse, OnBodyChunk, OnEos, OnFailure> {
    pub(super) make_span: MakeSpan,
    pub(super) on_request: OnRequest,
    pub(super) on_response: OnResponse,
    pub(super) on_body_chunk: OnBodyChunk,
    pub(super) on_eos: OnEos,
    pub(super) on_failure: OnFailure,
}

impl Default
    for Hooks<
        DefaultMakeSpan,
        DefaultOnRequest,
        DefaultOnResponse,
        DefaultOnBodyChunk,
        DefaultOnEos,
        DefaultOnFailure,
    >
{
    fn default() -> Self {
        Hooks {
            make_span: DefaultMakeSpan::default(),
            on_request: DefaultOnRequest::default(),
            on_response: DefaultOnResponse::default(),
            on_body_chunk: DefaultOnBodyChunk::default(),
            on_eos: DefaultOnEos::default(),
            on_failure: DefaultOnFailure::default(),
        }
    }
}

/// Each puts one hook in the place of another, of another type.
impl<MakeSpan, OnRequest, OnResponse, OnBodyChunk, OnEos, OnFailure>
    Hooks<MakeSpan, OnRequest, OnResponse, OnBodyChunk, OnEos, OnFailure>
{
    pub(super) fn with_make_span<New>(
        self,
        new: New,
    ) -> Hooks<New, OnRequest, OnResponse, OnBodyChunk, OnEos, OnFailure> {
        Hooks {
            make_span: new,
            on_request: self.on_request,
            on_response: self.on_response,
            on_body_chunk: self.on_body_chunk,
            on_eos: self.on_eos,
            on_failure: self.on_failure,
        }
    }

    pub(super) fn with_on_request<New>(
        self,
        new: New,
    ) -> Hooks<MakeSpan, New, OnResponse, OnBodyChunk, OnEos, OnFailure> {
        Hooks {
            make_span: self.make_span,
            on_request: new,
            on_response: self.on_response,
            on_body_chunk: self.on_body_chunk,
            on_eos: self.on_eos,
            on_failure: self.on_failure,
        }
    }

    pub(super) fn with_on_response<New>(
        self,
        new: New,
    ) -> Hooks<MakeSpan, OnRequest, New, OnBodyChunk, OnEos, OnFailure> {
        Hooks {
            make_span: self.make_span,
            on_request: self.on_request,
            on_response: new,
            on_body_chunk: self.on_body_chunk,
            on_eos: self.on_eos,
            on_failure: self.on_failure,
        }
    }

    pub(super) fn with_on_body_chunk<New>(
        self,
        new: New,
    ) -> Hooks<MakeSpan, OnRequest, OnResponse, New, OnEos, OnFailure> {
        Hooks {
            make_span: self.make_span,
            on_request: self.on_request,
            on_response: self.on_response,
            on_body_chunk: new,
            on_eos: self.on_eos,
            on_failure: self.on_failure,
        }
    }

    pub(super) fn with_on_eos<New>(
        self,
        new: New,
    ) -> Hooks<MakeSpan, OnRequest, OnResponse, OnBodyChunk, New, OnFailure> {
        Hooks {
            make_span: self.make_span,
            on_request: self.on_request,
            on_response: self.on_response,
            on_body_chunk: self.on_body_chunk,
            on_eos: new,
            on_failure: self.on_failure,
        }
    }

    pub(super) fn with_on_failure<New>(
        self,
        new: New,
    ) -> Hooks<MakeSpan, OnRequest, OnResponse, OnBodyChunk, OnEos, New> {
        Hooks {
            make_span: self.make_span,
            on_request: self.on_request,
            on_response: self.on_response,
            on_body_chunk: self.on_body_chunk,
            on_eos: self.on_eos,
            on_failure: new,
        }
    }
}

/// Declares the builder methods, on a type with these parameters before the hooks' and these fields
/// besides them.
macro_rules! hook_builders {
    ($type:ident $params:tt $fields:tt) => {
        hook_builders! { @each $type $params $fields
            /// Sets how the span of a request is made. Default: [`DefaultMakeSpan`].
            make_span_with with_make_span
                => New, OnRequest, OnResponse, OnBodyChunk, OnEos, OnFailure;
            /// Sets what happens when a request comes. Default: [`DefaultOnRequest`].
            on_request with_on_request
                => MakeSpan, New, OnResponse, OnBodyChunk, OnEos, OnFailure;
            /// Sets what happens when a response's head is there. Default: [`DefaultOnResponse`].
            on_response with_on_response
                => MakeSpan, OnRequest, New, OnBodyChunk, OnEos, OnFailure;
            /// Sets what happens for each piece of a response's body. Default:
            /// [`DefaultOnBodyChunk`], which does nothing.
            on_body_chunk with_on_body_chunk
                => MakeSpan, OnRequest, OnResponse, New, OnEos, OnFailure;
            /// Sets what happens when a response's body ends. Default: [`DefaultOnEos`].
            on_eos with_on_eos
                => MakeSpan, OnRequest, OnResponse, OnBodyChunk, New, OnFailure;
            /// Sets what happens for failures. Default: [`DefaultOnFailure`].
            on_failure with_on_failure
                => MakeSpan, OnRequest, OnResponse, OnBodyChunk, OnEos, New;
        }
    };
    (@each $type:ident $params:tt $fields:tt
        $($(#[$doc:meta])* $method:ident $with:ident => $($after:ident),+;)*) => {
        $(hook_builders! { @one $type $params $fields
            $(#[$doc])* $method $with => $($after),+ })*
    };
    (@one $type:ident [$($param:ident),+] {$($field:ident),+}
        $(#[$doc:meta])* $method:ident $with:ident => $($after:ident),+) => {
        impl<$($param,)+ MakeSpan, OnRequest, OnResponse, OnBodyChunk, OnEos, OnFailure>
            $type<$($param,)+ MakeSpan, OnRequest, OnResponse, OnBodyChunk, OnEos, OnFailure>
        {
            $(#[$doc])*
            pub fn $method<New>(self, new: New) -> $type<$($param,)+ $($after),+> {
                $type {
                    $($field: self.$field,)+
                    hooks: self.hooks.$with(new),
                }
            }
        }
    };
}
pub(super) use hook_builders;
