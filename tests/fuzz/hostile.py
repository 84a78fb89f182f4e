"""Pages that are known to be hard; the fuzzer begins with them, and they are tests themselves."""

HOSTILE = (
    b"",
    b"{}",
    b"[]",
    b'{"data":[],"has_more":false}',
    b'{"data":{},"has_more":true}',
    b'{"data":[1,null,"x",[],{}],"has_more":"yes"}',
    b'{"data":[{"id":"a","created":NaN,"usage":{"prompt_tokens":3,"total_tokens":Infinity}}]}',
    b'{"data":[{"id":"\\ud800","created":-1},{"id":"a","created":1e999},{"id":"","created":"1"}],"has_more":true}',
    b'{"data":[{"id":"a","id":"b","created":1,"created":9223372036854775808,"extra":{"\\udfff":1}}],"data":[{}]}',
    b'{"data":[{"id":"a","created":253402300800,"choices":[{"index":0,"message":[]},7],"\xff":1}],"has_more":1}',
    b'{"data":[{"id":"a\\u0000","created":1,"usage":[],"metadata":{"a":1,"\\u0000":"\xed\xa0\x80"},"tools":'
    + b"[" * 600
    + b"]" * 600
    + b"}]}",
    b'{"data":[{"id":"' + b"i" * 10_000 + b'","created":' + b"9" * 5000 + b'}],\n\t"has_more":true} ',
    b'{"data":[{"choices":[{"message":{"tool_calls":[{"function":{"name":"f"}},{"custom":{"input":1}}]}}]}]',
    b'{"data":[{"id":"a","created":1,"choices":[],"tools":' + b"[" * 3000 + b"]" * 3000 + b"}]}",
)
#: A completion that moves to another day, and to none.
MOVED = tuple(b'{"data":[{"id":"a","created":%b,"choices":[]}]}' % second for second in (b"1", b"999999", b'"1"'))
