"""What IPython offers while a call is typed."""

import pytest
from IPython.core.completer import IPCompleter, provisionalcompleter

import daskpatch


@pytest.mark.parametrize("use_jedi", [True, False])
@pytest.mark.parametrize(
    ("typed", "word"),
    [
        ("daskpatch.plan(", "patch_size="),
        ("daskpatch.plan('in.zarr', model, pat", "patch_size="),
        ("daskpatch.predict('in.zarr', model, 'out.zarr', ret", "retries="),
        ("daskpatch.Plan.run(plan, re", "resume="),
        ("daskpatch.Tiles(over", "overlaps="),
        ("daskpatch.plan(source, model, out, skip", "skip_empty="),
        ("daskpatch.Plan.run(plan, time", "timeout="),
    ],
)
def test_words_are_offered_inside_a_call(typed, word, use_jedi):
    completer = IPCompleter(namespace={"daskpatch": daskpatch}, global_namespace={})
    completer.use_jedi = use_jedi
    with provisionalcompleter():
        offered = {completion.text for completion in completer.completions(typed, len(typed))}
    assert word in offered
