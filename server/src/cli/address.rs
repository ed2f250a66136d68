//! The form of an address to listen on.

/// Reads an address to listen on.
pub(super) fn address(text: &str) -> Result<String, String> {
    let form = |port: &str| {
        format!(
            "write ADDR:PORT, such as 127.0.0.1:{port} for this machine alone, or 0.0.0.0:{port} for all its networks"
        )
    };
    if text.parse::<u16>().is_ok() {
        return Err(form(text));
    }
    match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) => {
            Err("an IPv6 address stands in brackets: [::1]:8787".to_owned())
        }
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err(form("8787")),
    }
}
