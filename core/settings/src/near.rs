//! The name nearest to one that nobody knows.

/// Names less alike than this are not offered.
const ALIKE_MIN: f64 = 0.78;

/// The known name that somebody most probably meant, if any is near. Case and the hyphens of flags do not count.
///
/// ```
/// use tidemark_settings::near::nearest;
/// let known = ["connections_max", "address_connections_max", "listen"];
/// assert_eq!(nearest("connection-max", known), Some("connections_max"));
/// assert_eq!(nearest("zzz", known), None);
/// ```
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    let name = plain(name);
    let alike = |known: &str| {
        strsim::jaro_winkler(&name, &plain(known)).max(strsim::normalized_damerau_levenshtein(&name, &plain(known)))
    };
    let rated = known.into_iter().map(|known| (alike(known), known));
    let best = rated.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (best.0 >= ALIKE_MIN).then_some(best.1)
}
