//! Who may call: the token, the keys of apps, and what a browser's page may not do unasked.

use axum::http::{HeaderMap, StatusCode, header};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::fault::Fault;
use crate::error::{Error, Result};
use crate::service::apps::ServiceApps;

/// Shortest token that is let pass for one.
const TOKEN_BYTES_MIN: usize = 16;

/// The header by which an app names itself.
pub(super) const APP: &str = "x-app";

/// A secret that all who call have to know. It is never shown.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// The token that the file's `text` holds; space around it does not count.
    ///
    /// # Errors
    /// If it is too short to be one, or has characters that no header can carry.
    pub fn of(subject: &str, text: &str) -> Result<Self> {
        let token = text.trim();
        if token.len() < TOKEN_BYTES_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let allowed = format!("{TOKEN_BYTES_MIN} or more letters, digits and marks of ASCII");
            let found = format!("{} bytes", token.len());
            return Err(Error::new(subject, "not a token").found(found).allowed(allowed));
        }
        Ok(Self(digest(token)))
    }
}

/// What is compared in place of a secret: as long whatever it is, so that the time of a comparison
/// says nothing of it.
fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Who may call.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Absent: whoever reaches the server, which then listens on this machine only.
    pub token: Option<Token>,
    /// The one origin whose pages may call from a browser; absent: none but ours.
    pub cors: Option<String>,
}

impl Access {
    /// The app that a request is of; empty where it does not say.
    ///
    /// A key decides, and a name beside it may not contradict it. Without a token a key that
    /// nobody has is let pass: clients send one whether they need to or not.
    ///
    /// # Errors
    /// 401 without the token or a key, 403 for another app's name.
    pub(super) fn app(&self, headers: &HeaderMap, apps: &ServiceApps) -> Result<String, Fault> {
        let presented = bearer(headers).map(digest);
        let named = match headers.get(APP) {
            None => String::new(),
            Some(name) => name.to_str().map(str::to_owned).map_err(|_| {
                Fault::field(APP, format!("{APP}: not allowed; allowed: printed ASCII"))
            })?,
        };
        let (mut owner, mut knows_token) = (None, Choice::from(0));
        if let Some(presented) = presented {
            // All keys are looked at, whichever fits.
            for app in apps.all() {
                let Some(key) = &app.key else { continue };
                if bool::from(digest(key).ct_eq(&presented)) {
                    owner = Some(app.name.clone());
                }
            }
            if let Some(Token(token)) = &self.token {
                knows_token = token.ct_eq(&presented);
            }
        }
        match owner {
            Some(owner) if named.is_empty() || named == owner => Ok(owner),
            Some(_) => {
                let message = format!("{APP}: the key is another app's");
                Err(Fault::new(StatusCode::FORBIDDEN, "key_of_another_app", message))
            }
            None if self.token.is_none() || bool::from(knows_token) => Ok(named),
            None => {
                let message = "this server asks for a token: `Authorization: Bearer …`";
                Err(Fault::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message))
            }
        }
    }

    /// Refuses what a page of somebody else's could make a browser ask of a server that asks for
    /// no token: requests from another origin, or under a name that was made to lead here.
    ///
    /// # Errors
    /// 403.
    pub(super) fn browser(&self, headers: &HeaderMap) -> Result<(), Fault> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).unwrap_or_default();
        let refused = |what: &str| {
            Err(Fault::new(StatusCode::FORBIDDEN, "another_origin", format!("{what}: not allowed")))
        };
        if self.token.is_none() && !host.is_empty() && !is_loopback(host) {
            return refused("host");
        }
        let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
        let ours = origin.split_once("://").is_some_and(|(_, of)| of == host);
        let asked_for = self.cors.as_deref().is_some_and(|cors| cors == "*" || cors == origin);
        if ours || asked_for { Ok(()) } else { refused("origin") }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether the `Host` header names this machine and nothing else.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let is_address = address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    is_address || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn apps() -> ServiceApps {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("apps.toml");
        let app = |name: &str, key: &str| {
            let slo = "slo = { ttft_ratio = 0.5, tpot_ratio = 0.5 }";
            format!("[[apps]]\nname = \"{name}\"\n{slo}\nkey = \"{key}\"\n")
        };
        let text = app("Mail", "sk-mail-0001") + &app("Maps", "sk-maps-0001");
        std::fs::write(&path, text).unwrap();
        ServiceApps::load(&path).unwrap()
    }

    #[test]
    fn a_key_is_its_app_s_and_the_token_is_anybody_s() {
        let token = Some(Token::of("token", "0123456789abcdef\n").unwrap());
        let access = Access { token, cors: None };
        let app = |pairs: &[(&'static str, &str)]| {
            access.app(&headers(pairs), &apps()).map_err(|fault| fault.status.as_u16())
        };
        let (token, key) = ("Bearer 0123456789abcdef", "bearer sk-mail-0001");
        assert_eq!(app(&[("authorization", token)]), Ok(String::new()));
        assert_eq!(app(&[("authorization", token), (APP, "Maps")]), Ok("Maps".to_owned()));
        assert_eq!(app(&[("authorization", key)]), Ok("Mail".to_owned()));
        assert_eq!(app(&[("authorization", key), (APP, "Maps")]), Err(403));
        assert_eq!(app(&[("authorization", "Bearer 0123456789abcdeF")]), Err(401));
        assert_eq!(app(&[("authorization", "0123456789abcdef")]), Err(401));
        assert_eq!(app(&[(APP, "Mail")]), Err(401));
    }

    #[test]
    fn without_a_token_a_key_that_nobody_has_is_let_pass() {
        let (access, apps) = (Access::default(), apps());
        let app = |pairs: &[(&'static str, &str)]| access.app(&headers(pairs), &apps).unwrap();
        assert_eq!(app(&[("authorization", "Bearer sk-any")]), "");
        assert_eq!(app(&[("authorization", "Bearer sk-any"), (APP, "Mail")]), "Mail");
        assert_eq!(app(&[("authorization", "Bearer sk-maps-0001")]), "Maps");
    }

    #[test]
    fn a_token_is_long_and_never_shown() {
        let message = Token::of("token.txt", " short \n").unwrap_err().to_string();
        let start = "token.txt: not a token; found 5 bytes; allowed: 16 or more";
        assert!(message.starts_with(start), "{message}");
        let token = Token::of("token.txt", "0123456789abcdef").unwrap();
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn a_page_of_another_origin_is_refused_unless_it_was_asked_for() {
        let allowed = |access: &Access, pairs: &[(&'static str, &str)]| {
            access.browser(&headers(pairs)).is_ok()
        };
        let open = Access::default();
        for host in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "localhost", "127.0.0.1"] {
            assert!(allowed(&open, &[("host", host)]), "{host}");
        }
        assert!(!allowed(&open, &[("host", "evil.example:8080")]));
        assert!(!allowed(&open, &[("host", "127.0.0.1.evil.example")]));
        let ours = ("origin", "http://localhost:8080");
        assert!(allowed(&open, &[("host", "localhost:8080"), ours]));
        assert!(!allowed(&open, &[("host", "localhost:8081"), ours]));
        let theirs = [("host", "localhost:8080"), ("origin", "https://app.example")];
        assert!(!allowed(&open, &theirs));
        let asked = Access { cors: Some("https://app.example".to_owned()), ..open };
        assert!(allowed(&asked, &theirs));
    }
}
