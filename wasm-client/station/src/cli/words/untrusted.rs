//! The sentences of a terminal for a server that is not trusted: each says what is the matter, and what helps.

use tidemark_client::sync::{Failure, FailureKind, Untrusted};

/// Why there is no answer, and what helps where that is known.
pub(crate) fn failure(failure: &Failure) -> String {
    match failure.kind {
        FailureKind::Untrusted(fact) => format!("{failure}; {}", helps(fact)),
        FailureKind::Unreached | FailureKind::Timeout | FailureKind::Broken => failure.to_string(),
    }
}

/// What helps.
const fn helps(fact: Untrusted) -> &'static str {
    match fact {
        Untrusted::UnknownAuthority => {
            "give its authority's certificate once (`tidemark server --ca FILE`, or `tidemark join CODE --ca FILE`), or ask its operator for a \
             code that knows it, made with --server-ca"
        }
        Untrusted::Expired => "its operator has to renew it. Is this machine's clock right?",
        Untrusted::NotYetValid => "is this machine's clock right?",
        Untrusted::WrongName => {
            "is the URL right (`tidemark server` shows and changes it)? If it is, its operator has to make a certificate for this name"
        }
        Untrusted::OtherPin => {
            "somebody may stand between, or the server has another certificate: ask its operator, who can give a new code, or the pin for \
             `tidemark server --pin PIN`"
        }
        Untrusted::NoAuthorities => "install them (the package ca-certificates, on most), or give --ca FILE",
        Untrusted::ClientRefused => {
            "give the one that its operator made for this station, with --client-cert FILE --client-key FILE"
        }
        Untrusted::NotTls => {
            "does it serve plain HTTP? Then its URL begins with http:// (`tidemark server` shows and changes it)"
        }
        Untrusted::Other => "its operator finds more in the server's log at the level debug",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fact_has_its_own_sentences() {
        let all = [
            Untrusted::UnknownAuthority,
            Untrusted::Expired,
            Untrusted::NotYetValid,
            Untrusted::WrongName,
            Untrusted::OtherPin,
            Untrusted::NoAuthorities,
            Untrusted::ClientRefused,
            Untrusted::NotTls,
            Untrusted::Other,
        ];
        let mut said: Vec<String> = all
            .map(|fact| failure(&Failure { kind: FailureKind::Untrusted(fact), message: fact.to_string() }))
            .to_vec();
        assert!(said.iter().all(|said| said.contains("; ") && !said.ends_with('.')), "{said:#?}");
        said.sort();
        assert!(said.windows(2).all(|pair| pair[0] != pair[1]), "{said:#?}");
        let away = Failure { kind: FailureKind::Unreached, message: "connection refused".into() };
        assert_eq!(failure(&away), "connection refused");
    }
}
