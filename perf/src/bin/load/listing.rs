//! Work on many keys with one request: listings and DeleteObjects.

use std::io;
use std::ops::Range;
use std::time::Instant;

use sluicegate_perf::http::Connection;
use sluicegate_perf::sign::Payload;

use super::objects::put;
use super::shared::{Shared, ask, timed};
use super::text::{base64, between, encode};

/// Lists all keys, page by page, as often as the time allows, but at least once. An object is written again before each
/// time, so that no listing is served from what the server kept of the one before. Only pages are measured.
pub async fn list(shared: &Shared, connection: &mut Connection) -> io::Result<()> {
    let mut listed = 0.0;
    while listed == 0.0 || listed < shared.options.seconds {
        put(shared, connection, 0).await?;
        let pages = shared.pages.borrow().len();
        list_once(shared, connection).await?;
        listed += shared.pages.borrow()[pages..].iter().sum::<f64>() / 1e6;
    }
    Ok(())
}

async fn list_once(shared: &Shared, connection: &mut Connection) -> io::Result<()> {
    let (mut token, mut keys) = (None::<String>, 0);
    let prefix = encode(&shared.options.prefix);
    let path = format!("/{}", shared.options.bucket);
    loop {
        let token_query =
            token.map_or_else(String::new, |token| format!("continuation-token={}&", encode(&token)));
        let query = format!("{token_query}list-type=2&prefix={prefix}");
        let request = shared.signer.head("GET", &path, &query, 0, Payload::Signed(b""));
        let began = Instant::now();
        let page = ask(connection, request, "ListObjectsV2").await?;
        let took = began.elapsed();
        shared.pages.borrow_mut().push(took.as_secs_f64() * 1e6);
        shared.stats.borrow_mut().record(took, 0);
        keys = check_page(&page, &shared.options.prefix, keys)?;
        token = between(&page, "<NextContinuationToken>", "</NextContinuationToken>").map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    if keys != shared.options.objects {
        return Err(io::Error::other(format!("{keys} keys were listed, not {}", shared.options.objects)));
    }
    Ok(())
}

/// Checks that the keys of a page are those from number `from` on, without a gap; the number after its last one.
fn check_page(page: &str, prefix: &str, from: usize) -> io::Result<usize> {
    let mut next = from;
    for key in page.split("<Key>").skip(1) {
        let expected = format!("{prefix}{next:08}</Key>");
        if !key.starts_with(&expected) {
            let found = key.split('<').next().unwrap_or_default();
            return Err(io::Error::other(format!("{found} was listed in the place of number {next}")));
        }
        next += 1;
    }
    Ok(next)
}

/// One DeleteObjects.
pub async fn delete_many(
    shared: &Shared,
    connection: &mut Connection,
    objects: Range<usize>,
) -> io::Result<()> {
    let mut body = String::from("<Delete><Quiet>true</Quiet>");
    for object in objects {
        body += &format!("<Object><Key>{}{object:08}</Key></Object>", shared.options.prefix);
    }
    body += "</Delete>";
    let path = format!("/{}", shared.options.bucket);
    let payload = Payload::Signed(body.as_bytes());
    let mut request = shared.signer.head("POST", &path, "delete=", body.len(), payload);
    let md5 = <md5::Md5 as md5::Digest>::digest(body.as_bytes());
    request.truncate(request.len() - 2);
    request.extend_from_slice(format!("Content-MD5: {}\r\n\r\n{body}", base64(&md5)).as_bytes());
    let operation = async {
        if ask(connection, request, "DeleteObjects").await?.contains("<Error>") {
            return Err(io::Error::other("DeleteObjects: a key was not deleted"));
        }
        Ok(0)
    };
    timed(shared, operation).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_complete_and_in_order() {
        let page = "<Contents><Key>l/00000007</Key><Size>1</Size></Contents><Contents><Key>l/00000008</Key></Contents>";
        assert_eq!(check_page(page, "l/", 7).unwrap(), 9);
        assert_eq!(check_page("<ListBucketResult/>", "l/", 7).unwrap(), 7);
        for wrong in [6, 8] {
            assert!(check_page(page, "l/", wrong).is_err());
        }
        let gap = page.replace("00000008", "00000009");
        assert!(check_page(&gap, "l/", 7).unwrap_err().to_string().contains("l/00000009"));
        let twice = page.replace("00000008", "00000007");
        assert!(check_page(&twice, "l/", 7).is_err());
        assert!(check_page(page, "m/", 7).is_err());
    }
}
