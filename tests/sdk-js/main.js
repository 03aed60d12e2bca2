// The AWS SDK for JavaScript against a running server: objects of every interesting size, from memory and as a stream (which
// the SDK frames otherwise), with every checksum it computes, and in parts by its transfer manager; names, metadata, tags,
// copies, listings, conditions, errors, deletion and presigned URLs.
//
// Settings come from the environment: ENDPOINT, BUCKET, WORK (a directory for files) and the keys as AWS names them; the
// authority for TLS is in NODE_EXTRA_CA_CERTS. Each step that holds is printed; the first that does not ends the program
// with its error. The objects are left in the bucket for the caller, who looks at their files.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";

import {
  CopyObjectCommand, CreateBucketCommand, DeleteObjectCommand, DeleteObjectsCommand, GetObjectCommand,
  GetObjectTaggingCommand, HeadBucketCommand, HeadObjectCommand, ListBucketsCommand, PutObjectCommand, S3Client,
  paginateListObjectsV2, paginateListParts, waitUntilObjectNotExists,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const MIB = 1 << 20;
const SIZES = [0, 1, 4095, 4096, 4097, 100_000, 8 * MIB];
const NAMES = ["a b+c%20d", "!'()*~", "é/日本 😀", "q?x=1&y#z", "back\\slash", "//twice", "./dot/../dots", "trailing/"];

const { ENDPOINT, BUCKET: Bucket, WORK } = process.env;
const client = new S3Client({ endpoint: ENDPOINT, region: "us-east-1", forcePathStyle: true, maxAttempts: 1 });
const send = (Command, input) => client.send(new Command({ Bucket, ...input }));

/** Bytes that differ from place to place; the caller computes the same. */
function content(size) {
  const body = Buffer.alloc(size);
  for (let index = 0; index < size; index++) body[index] = (index * 7 + Math.floor(index / 251)) & 255;
  return body;
}

function holds(what) {
  console.log(`${what} holds`);
}

async function check(Key, body) {
  const head = await send(HeadObjectCommand, { Key });
  assert.equal(head.ContentLength, body.length, Key);
  const got = await send(GetObjectCommand, { Key, ChecksumMode: "ENABLED" });
  assert.equal(got.ETag, head.ETag, Key);
  assert.ok(body.equals(await got.Body.transformToByteArray()), `${Key} comes back as it was`);
  holds(Key);
}

async function refused(promise, name, status) {
  const failure = await promise.then(() => assert.fail(`${name} was expected`), (failure) => failure);
  assert.equal(failure.name, name);
  assert.equal(failure.$metadata.httpStatusCode, status);
}

async function whole(size) {
  const Key = `whole/${size}`, Body = content(size);
  const put = await send(PutObjectCommand, { Key, Body });
  assert.equal(put.ETag, `"${createHash("md5").update(Body).digest("hex")}"`);
  await check(Key, Body);
}

async function streamed(size) {
  const Key = `streamed/${size}`, body = content(size), file = join(WORK, "body");
  writeFileSync(file, body);
  await send(PutObjectCommand, { Key, Body: createReadStream(file) });
  await check(Key, body);
  await pipeline((await send(GetObjectCommand, { Key })).Body, createWriteStream(join(WORK, "back")));
  assert.ok(readFileSync(join(WORK, "back")).equals(body));
}

async function checksummed(ChecksumAlgorithm) {
  const Key = `checksum/${ChecksumAlgorithm}`, Body = content(10_000);
  const put = await send(PutObjectCommand, { Key, Body, ChecksumAlgorithm });
  assert.ok(put[`Checksum${ChecksumAlgorithm}`], JSON.stringify(put));
  await check(Key, Body);
  const wrong = { Key, Body: "other", [`Checksum${ChecksumAlgorithm}`]: put[`Checksum${ChecksumAlgorithm}`] };
  await refused(send(PutObjectCommand, wrong), "BadDigest", 400);
}

/** A stream whose length nobody knows, in parts that are sent in parallel; the caller finds no part left. */
async function uploaded(size) {
  const Key = `uploaded/${size}`, body = content(size), Body = new PassThrough();
  const upload = new Upload({ client, params: { Bucket, Key, Body, ContentType: "text/x-js" }, partSize: 5 * MIB, queueSize: 3 });
  for (let start = 0; start < size; start += MIB - 1) Body.write(body.subarray(start, Math.min(start + MIB - 1, size)));
  Body.end();
  const done = await upload.done();
  assert.equal(/-\d+"$/.exec(done.ETag)?.[0], size > 5 * MIB ? `-${Math.ceil(size / (5 * MIB))}"` : undefined);
  await check(Key, body);
  assert.equal((await send(HeadObjectCommand, { Key })).ContentType, "text/x-js");
}

async function aborted() {
  const Body = new PassThrough();
  const upload = new Upload({ client, params: { Bucket, Key: "aborted", Body }, partSize: 5 * MIB, queueSize: 2 });
  upload.on("httpUploadProgress", () => upload.abort());
  Body.end(content(17 * MIB));
  await assert.rejects(upload.done(), { name: "AbortError" });
  await refused(send(HeadObjectCommand, { Key: "aborted" }), "NotFound", 404);
  holds("abort");
}

async function names() {
  for (const [number, Key] of NAMES.entries()) {
    await send(PutObjectCommand, { Key: `names/${Key}`, Body: `${number}` });
    assert.equal(await (await send(GetObjectCommand, { Key: `names/${Key}` })).Body.transformToString(), `${number}`);
    const CopySource = encodeURIComponent(`${Bucket}/names/${Key}`);
    await send(CopyObjectCommand, { Key: `copies/${Key}`, CopySource });
    assert.equal(await (await send(GetObjectCommand, { Key: `copies/${Key}` })).Body.transformToString(), `${number}`);
  }
  const found = [];
  for await (const page of paginateListObjectsV2({ client, pageSize: 3 }, { Bucket, Prefix: "names/" })) {
    found.push(...page.Contents.map((entry) => entry.Key.slice("names/".length)));
  }
  const inOrder = [...NAMES].sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
  assert.deepEqual(found, inOrder);
  holds("names");
}

async function metadata() {
  const made = { ContentType: "text/x-test", CacheControl: "max-age=5", Metadata: { colour: "dark blue" } };
  await send(PutObjectCommand, { Key: "metadata", Body: "x", Tagging: "team=red%20one&empty=", ...made });
  const head = await send(HeadObjectCommand, { Key: "metadata" });
  for (const [name, value] of Object.entries(made)) assert.deepEqual(head[name], value);
  const { TagSet } = await send(GetObjectTaggingCommand, { Key: "metadata" });
  assert.deepEqual(TagSet, [{ Key: "empty", Value: "" }, { Key: "team", Value: "red one" }]);
  holds("metadata");
}

async function conditionsAndErrors() {
  const { ETag } = await send(PutObjectCommand, { Key: "conditions", Body: "0123456789" });
  await refused(send(PutObjectCommand, { Key: "conditions", Body: "y", IfNoneMatch: "*" }), "PreconditionFailed", 412);
  await refused(send(PutObjectCommand, { Key: "conditions", Body: "y", IfMatch: '"0"' }), "PreconditionFailed", 412);
  await refused(send(GetObjectCommand, { Key: "conditions", IfNoneMatch: ETag }), "Unknown", 304);
  const range = await send(GetObjectCommand, { Key: "conditions", Range: "bytes=2-4", IfMatch: ETag });
  assert.equal(await range.Body.transformToString(), "234");
  assert.equal(range.ContentRange, "bytes 2-4/10");
  await refused(send(GetObjectCommand, { Key: "conditions", Range: "bytes=10-" }), "InvalidRange", 416);
  await refused(send(GetObjectCommand, { Key: "missing" }), "NoSuchKey", 404);
  await refused(send(HeadObjectCommand, { Key: "missing" }), "NotFound", 404);
  await refused(send(HeadBucketCommand, { Bucket: "no-such-bucket" }), "NotFound", 404);
  await refused(send(GetObjectCommand, { Bucket: "no-such-bucket", Key: "k" }), "NoSuchBucket", 404);
  await refused(paginateListParts({ client }, { Bucket, Key: "k", UploadId: "none" }).next(), "NoSuchUpload", 404);
  holds("conditions and errors");
}

async function deletion() {
  await send(PutObjectCommand, { Key: "gone", Body: "" });
  await send(DeleteObjectCommand, { Key: "gone" });
  const waited = await waitUntilObjectNotExists({ client, maxWaitTime: 10 }, { Bucket, Key: "gone" });
  assert.equal(waited.state, "SUCCESS");
  const Objects = [...NAMES.map((name) => ({ Key: `copies/${name}` })), { Key: "missing" }];
  const done = await send(DeleteObjectsCommand, { Delete: { Objects } });
  assert.deepEqual([done.Deleted.map(({ Key }) => Key).sort(), done.Errors], [Objects.map(({ Key }) => Key).sort(), undefined]);
  holds("deletion");
}

async function presigned() {
  const Key = "presigned/é +%&=?.txt", body = content(100_000);
  const put = await getSignedUrl(client, new PutObjectCommand({ Bucket, Key, ContentType: "text/x-signed" }), { expiresIn: 60 });
  const answer = await fetch(put, { method: "PUT", body, headers: { "content-type": "text/x-signed" } });
  assert.equal(answer.status, 200, await answer.text());
  const asked = { Bucket, Key, ResponseContentDisposition: 'attachment; filename="a b"' };
  const got = await fetch(await getSignedUrl(client, new GetObjectCommand(asked), { expiresIn: 60 }));
  assert.equal(got.headers.get("content-disposition"), asked.ResponseContentDisposition);
  assert.equal(got.headers.get("content-type"), "text/x-signed");
  assert.ok(body.equals(Buffer.from(await got.arrayBuffer())));
  const other = (await getSignedUrl(client, new GetObjectCommand({ Bucket, Key }))).replace("presigned/", "whole/");
  assert.equal((await fetch(other)).status, 403);
  holds("presigned");
}

await send(CreateBucketCommand, {});
await send(HeadBucketCommand, {});
assert.ok((await client.send(new ListBucketsCommand({}))).Buckets.some(({ Name }) => Name === Bucket));
for (const size of SIZES) {
  await whole(size);
  await streamed(size);
}
for (const algorithm of ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]) await checksummed(algorithm);
for (const size of [1000, 12 * MIB + 5]) await uploaded(size);
await aborted();
await names();
await metadata();
await conditionsAndErrors();
await deletion();
await presigned();
