"""What S3 has and this server has not: an honest answer, and a connection that goes on."""

import pytest
from botocore.exceptions import ClientError

from wire import Connection, ask, http_chunks, signed

QUERY = b"""<SelectObjectContentRequest xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<Expression>SELECT * FROM S3Object</Expression><ExpressionType>SQL</ExpressionType>
<InputSerialization><CSV/></InputSerialization><OutputSerialization><CSV/></OutputSerialization>
</SelectObjectContentRequest>"""


def test_select_object_content(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"a,b\n")
    for key in ["k", "none"]:
        with pytest.raises(ClientError) as failure:
            s3.select_object_content(Bucket=bucket, Key=key, Expression="SELECT * FROM S3Object", ExpressionType="SQL",
                                     InputSerialization={"CSV": {}}, OutputSerialization={"CSV": {}})
        answer = failure.value.response
        assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("NotImplemented", 501)
        assert "SelectObjectContent" in answer["Error"]["Message"]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"a,b\n"


@pytest.mark.parametrize("target", ["/{}/k?select&select-type=2", "/{}/k?restore", "/{}?metadataTable"])
def test_the_connection_goes_on(server, s3, bucket, target):
    s3.put_object(Bucket=bucket, Key="k", Body=b"data")
    user, target = server.users["writer"], target.format(bucket)
    with Connection(server) as connection:
        for body in [b"", QUERY, QUERY * 100]:
            connection.send(signed(user, connection.host, "POST", target, body))
            connection.send(signed(user, connection.host, "GET", f"/{bucket}/k"))
            connection.answer().expect(501, "NotImplemented")
            assert connection.answer().body == b"data", len(body)
        chunked = signed(user, connection.host, "POST", target, b"", headers=[("Transfer-Encoding", "chunked")],
                         length=False, payload="UNSIGNED-PAYLOAD")
        connection.send(chunked + http_chunks(QUERY, 50))
        connection.send(signed(user, connection.host, "GET", f"/{bucket}/k"))
        connection.answer().expect(501, "NotImplemented")
        assert connection.answer().body == b"data"


def test_who_may_not_is_told_that(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"data")
    name = f"lists-{bucket}-{server.port}"
    server.add_policy(name, [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}"}])
    user = server.add_user(name, name, number=110)
    ask(server, "POST", f"/{bucket}/k?select&select-type=2", QUERY, user=user).expect(403, "AccessDenied")
