"""Pictures of texts: a table of the best ones, and bars with long names."""

import numpy as np

from gfnjax.envs.drawing import Panel
from gfnjax.plot import found_texts
from gfnjax.plot.pictures import distributions
from gfnjax.run.evaluation import Views
from gfnjax.run.texts import FoundTexts, write_texts

PNG = b"\x89PNG\r\n\x1a\n"


def found(num_prompts, num_texts):
    prompts = [f"prompt {i}" for i in range(num_prompts) for _ in range(num_texts)]
    count = len(prompts)
    texts = [f" text {i}, $x_1$" for i in range(count)]
    log_r = -np.arange(count) / 2
    return FoundTexts(prompts, texts, log_r, log_r - 1, np.full(count, 2))


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_best_texts_of_each_prompt_with_their_numbers(tmp_path):
    shown = words(found_texts.table(found(2, 30)))
    each = found_texts.MAX_LINES // 2
    assert shown[:4] == ["log R", "log q", "times", "prompt 0"]
    assert shown[4:8] == ["text 0, $x_1$", "0.00", "-1.00", "2"]
    texts = [word for word in shown if word.startswith("text")]
    assert texts == [f"text {i}, $x_1$" for i in [*range(each), *range(30, 30 + each)]]
    (path,) = found_texts.draw_texts(tmp_path, found(1, 2))
    assert path.read_bytes().startswith(PNG)
    (path,) = write_texts(tmp_path, found(1, 2))
    expected = 'prompt,text,log_r,log_q,count\nprompt 0," text 0, $x_1$",0.0,-1.0,2\n'
    assert path.read_text().replace("\r", "").startswith(expected)


def test_long_texts_are_shortened():
    assert found_texts.shortened(" a\nb ") == "a\\nb"
    assert found_texts.shortened("  ") == "\u201c  \u201d"
    long = "".join(str(i % 10) for i in range(200))
    short = found_texts.shortened(long)
    assert len(short) <= found_texts.LONGEST + 1
    first, last = short.split(" \u2026 ")
    assert long.startswith(first)
    assert long.endswith(last)


def test_names_of_bars_stand_aslant_where_they_are_long():
    def angles(names):
        panel = Panel(np.full(len(names), 1 / len(names)), "text", x_ticks=names)
        axes = distributions(Views((panel,), None), "title").axes[0]
        return {name.get_rotation() for name in axes.get_xticklabels()}

    assert angles(("a", "b")) == {0.0}
    assert angles(("a text of some letters", "another $one$")) == {50.0}
