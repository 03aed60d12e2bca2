//! Heads as clients send them.

/// A PUT of boto3 over plain HTTP: 12 header lines.
pub const BOTO3_PUT: &[u8] = b"PUT /bucket/a%20key HTTP/1.1\r\n\
    Host: localhost:9000\r\n\
    Accept-Encoding: identity\r\n\
    x-amz-checksum-crc32: NSRBwg==\r\n\
    x-amz-sdk-checksum-algorithm: CRC32\r\n\
    User-Agent: Boto3/1.43.1 md/Botocore#1.43.1 ua/2.1 os/linux#6.18 md/arch#x86_64 lang/python#3.13\r\n\
    X-Amz-Date: 20261124T000000Z\r\n\
    X-Amz-Content-SHA256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\r\n\
    Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261124/us-east-1/s3/aws4_request, \
    SignedHeaders=host;x-amz-checksum-crc32;x-amz-content-sha256;x-amz-date;x-amz-sdk-checksum-algorithm, \
    Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41\r\n\
    amz-sdk-invocation-id: 6f5e2d1c-0f5b-4b7f-9a52-70f3a2f8a1d4\r\n\
    amz-sdk-request: attempt=1\r\n\
    Expect: 100-continue\r\n\
    Content-Length: 4096\r\n\r\n";
