//! What every service of this crate has, written once.

/// The three accessors of the wrapped service, for a type with a field `inner: S`.
#[allow(unused_macros)]
macro_rules! inner_accessors {
    () => {
        /// Borrows the wrapped service.
        pub fn get_ref(&self) -> &S {
            &self.inner
        }

        /// Borrows the wrapped service mutably.
        pub fn get_mut(&mut self) -> &mut S {
            &mut self.inner
        }

        /// Gives the wrapped service back.
        pub fn into_inner(self) -> S {
            self.inner
        }
    };
}
