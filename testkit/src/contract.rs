//! Tests that several implementations of one thing must pass.

/// Makes each case a test of its own for each subject: a module per subject, a function per case.
///
/// A case is an `async fn` beside the call that takes a reference to what `open` returns.
///
/// ```text
/// contract!([memory = Kind::Memory, embedded = Kind::Sqlite], Store::of_field, {
///     a_gap_changes_nothing,
/// });
/// ```
#[macro_export]
macro_rules! contract {
    ([$($subject:ident = $kind:expr),* $(,)?], $open:path, $cases:tt) => {
        $($crate::contract!(@subject $subject, $kind, $open, $cases);)*
    };
    (@subject $subject:ident, $kind:expr, $open:path, { $($case:ident),* $(,)? }) => {
        mod $subject {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(&$open($kind).await).await;
            })*
        }
    };
}
