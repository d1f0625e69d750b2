"""Image files and a CSV: exact pixels from every kind of file, and every problem named, all at once."""

import io
import os
import pickle

import numpy as np
import pytest
from PIL import Image

from fasbench.data.record import check_record
from fasbench.data.sources.folder import FolderSource
from fasbench.data.sources.images import read_image
from fasbench.data.store import prepare
from fasbench.errors import ConfigError, DataError

HEADER = "id,subject,unit,video,attack,label,split,rgb,depth,ir"
H, W = 6, 8


def colours(seed=0, height=H, width=W):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def grays(seed=0, height=H, width=W):
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def save(path, image, **options):
    path.parent.mkdir(exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two videos of two frames: PNG of all modalities, a missing depth image, a missing rgb image."""
    lines = [HEADER]
    for k, (subject, video, attack, label) in enumerate(
        [
            ("anna", "a1", "live", 1),
            ("anna", "a1", "live", 1),
            ("bo", "b1", "print/laser", 0),
            ("bo", "b1", "print/laser", 0),
        ]
    ):
        files = {"rgb": colours(k), "depth": grays(10 + k), "ir": grays(20 + k)}
        cells = []
        for modality, image in files.items():
            absent = (k, modality) in ((1, "depth"), (3, "rgb"))
            cells.append("" if absent else f"{modality}/{k}.png")
            if not absent:
                save(tmp_path / modality / f"{k}.png", image)
        lines.append(f"f{k},{subject},unit-{subject},{video},{attack},{label},train,{','.join(cells)}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def edit(folder, old, new):
    text = (folder / "list.csv").read_text()
    assert old in text
    (folder / "list.csv").write_text(text.replace(old, new))


def problems_of(folder, **options):
    with pytest.raises(DataError) as caught:
        FolderSource(folder / "list.csv", "lab", **options)
    return str(caught.value)


def test_records(folder):
    source = FolderSource(folder / "list.csv", "lab")
    assert len(source) == 4 and source.shape == (H, W)
    record = source.read(3)
    assert (record.id, record.domain, record.video, record.frame) == ("lab/f3", "lab", "lab/b1", 1)
    assert (record.subject, record.unit, record.presenter) == ("lab/bo", "lab/unit-bo", "")
    assert (record.attack, record.attack_fine, record.label, record.split) == ("print", "laser", 0, "train")
    assert record.rgb is None
    np.testing.assert_array_equal(record.depth, grays(13))
    np.testing.assert_array_equal(record.ir, grays(23))
    record = source.read(0)
    np.testing.assert_array_equal(record.rgb, colours(0))
    assert record.presenter == "lab/anna"  # a bona fide presents itself
    assert source.read(1).depth is None
    assert all(check_record(source.read(index), source.shape) == [] for index in range(4))


def test_the_presenter_column(folder):
    text = (folder / "list.csv").read_text().splitlines()
    column = ["presenter", "", "anna", "carl", ""]
    (folder / "list.csv").write_text("\n".join(f"{line},{cell}" for line, cell in zip(text, column, strict=True)))
    source = FolderSource(folder / "list.csv", "lab")
    assert [source.read(k).presenter for k in range(4)] == ["lab/anna", "lab/anna", "lab/carl", ""]


def test_prepared_and_read_again(folder, tmp_path):
    source = pickle.loads(pickle.dumps(FolderSource(folder / "list.csv", "lab")))
    store = prepare(source, tmp_path / "stores")
    assert store.present.tolist() == [[1, 1, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]
    np.testing.assert_array_equal(store.read(np.array([2])).rgb[0], colours(2))


def test_the_recipe_follows_the_files_not_the_place(folder, tmp_path):
    def recipe(**options):
        return FolderSource(folder / "list.csv", "lab", **options).recipe()

    first = recipe()
    assert first == recipe() and str(folder) not in str(first)
    assert recipe(image_size=8) != first
    assert recipe(ranges={"depth": (0, 9)}) != first
    status = (folder / "ir" / "2.png").stat()
    os.utime(folder / "ir" / "2.png", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    touched = recipe()
    assert touched != first
    (folder / "ir" / "2.png").unlink()
    assert recipe() not in (first, touched)
    edit(folder, "bo,", "carl,")
    assert recipe()["csv_sha256"] != first["csv_sha256"]


# Image files


def test_sixteen_bits_are_mapped_linearly(tmp_path):
    raw = np.array([[0, 299, 300, 301, 302], [900, 901, 1497, 1500, 65535]], np.uint16)
    path = save(tmp_path / "depth.png", raw)
    assert Image.open(path).mode.startswith("I")
    # (v - 300) / 1200 * 255: 301 -> 0.2125, 302 -> 0.425, 900 -> 127.5 (half up), 901 -> 127.7, 1497 -> 254.36
    expected = [[0, 0, 0, 0, 0], [128, 128, 254, 255, 255]]
    assert read_image(path, "depth", None, (300, 1500)).tolist() == expected
    assert read_image(path, "ir", None, (0, 65535))[1].tolist() == [
        4,
        4,
        6,
        6,
        255,
    ]  # v / 257: 3.502, 3.506, 5.82, 5.84


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_sixteen_bit_tiff_of_both_byte_orders(tmp_path, order):
    raw = np.array([[0, 51, 255, 510]], order)
    mode = "I;16" if order == "<u2" else "I;16B"
    path = save(tmp_path / "depth.tiff", Image.frombytes(mode, (4, 1), raw.tobytes()))
    assert read_image(path, "depth", None, (0, 510)).tolist() == [[0, 26, 128, 255]]  # 25.5 and 127.5 round up


@pytest.mark.parametrize("modality", ["depth", "ir"])
def test_sixteen_bits_need_a_range(tmp_path, modality):
    path = save(tmp_path / "raw.png", np.array([[7, 4000]], np.uint16))
    with pytest.raises(DataError) as caught:
        read_image(path, modality, None, None)
    assert "values 7 to 4000" in str(caught.value) and f"`range: {{{modality}: [300, 1500]}}`" in str(caught.value)


def test_eight_bits_with_a_range_are_a_mix_up(tmp_path):
    with pytest.raises(DataError, match="has 8 bits, but a range"):
        read_image(save(tmp_path / "depth.png", grays()), "depth", None, (300, 1500))


def rgba(alpha):
    return np.concatenate([colours(), np.full((H, W, 1), alpha, np.uint8)], axis=2)


def palette(image):
    return Image.fromarray(image).convert("P", palette=Image.Palette.ADAPTIVE, colors=256)


def test_accepted_files_are_read_exactly(tmp_path):
    def read(modality, image, name="image.png", **options):
        return read_image(save(tmp_path / name, image, **options), modality, None, None)

    gray_in_colour = np.repeat(grays()[..., None], 3, axis=2)
    np.testing.assert_array_equal(read("rgb", colours()), colours())
    np.testing.assert_array_equal(read("rgb", colours(), "image.bmp"), colours())
    np.testing.assert_array_equal(read("rgb", rgba(255)), colours())
    np.testing.assert_array_equal(read("rgb", palette(colours())), colours())  # 48 pixels, so at most 48 colours
    np.testing.assert_array_equal(read("ir", grays()), grays())
    np.testing.assert_array_equal(read("depth", gray_in_colour), grays())
    np.testing.assert_array_equal(read("ir", Image.fromarray(grays()).convert("LA")), grays())
    np.testing.assert_array_equal(read("ir", Image.fromarray(gray_in_colour).convert("RGBA")), grays())
    np.testing.assert_array_equal(read("depth", Image.fromarray(grays()).convert("P")), grays())


def test_jpeg_is_read_as_pillow_decodes_it(tmp_path):
    ramp = np.add.outer(np.arange(32), 3 * np.arange(32)).astype(np.uint8)
    colour = np.stack([ramp, 255 - ramp, ramp // 2], axis=2)
    path = save(tmp_path / "rgb.jpg", colour, quality=95)
    image = read_image(path, "rgb", None, None)
    np.testing.assert_array_equal(image, np.asarray(Image.open(path)))
    assert np.abs(image.astype(int) - colour).mean() < 8
    path = save(tmp_path / "ir.jpg", np.repeat(ramp[..., None], 3, axis=2), quality=95)  # gray saved as colour
    assert Image.open(path).mode == "RGB"
    assert np.abs(read_image(path, "ir", None, None).astype(int) - ramp).max() < 8


def test_channels_may_differ_by_chroma_noise_only(tmp_path):
    image = np.repeat(grays()[..., None] // 2, 3, axis=2)
    image[0, 0] += np.array([0, 8, 4], np.uint8)
    assert read_image(save(tmp_path / "noise.png", image), "ir", None, None).shape == (H, W)
    image[0, 0, 1] += 1
    with pytest.raises(DataError, match="looks like a colour image in the ir column: its channels differ by up to 9"):
        read_image(save(tmp_path / "colour.png", image), "ir", None, None)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    path = save(
        tmp_path / "phone.jpg", np.zeros((16, 32, 3), np.uint8) + np.arange(0, 256, 8, np.uint8)[:, None], exif=exif
    )
    image = read_image(path, "rgb", None, None)
    assert image.shape == (32, 16, 3)
    assert image[0].max() < 20 and image[-1].min() > 235  # what was on the left is on top
    (tmp_path / "list.csv").write_text(f"{HEADER}\n1,s,s,v,live,1,test,phone.jpg,,\n")
    assert FolderSource(tmp_path / "list.csv", "lab").shape == (32, 16)


REFUSED = {
    "gray in rgb": ("rgb", lambda: Image.fromarray(grays()), "gray image in the rgb column: expected colour"),
    "gray palette in rgb": ("rgb", lambda: Image.fromarray(grays()).convert("P"), "gray image in the rgb column"),
    "gray and alpha in rgb": ("rgb", lambda: Image.fromarray(grays()).convert("LA"), "gray image in the rgb column"),
    "16 bits in rgb": ("rgb", lambda: Image.fromarray(np.ones((H, W), np.uint16)), "gray image in the rgb column"),
    "colour in depth": ("depth", lambda: Image.fromarray(colours()), "looks like a colour image in the depth column"),
    "palette in ir": ("ir", lambda: palette(colours()), "looks like a colour image in the ir column"),
    "transparent": ("rgb", lambda: Image.fromarray(rgba(254)), "transparent"),
    "transparent gray": (
        "ir",
        lambda: Image.merge("LA", [Image.fromarray(grays()), Image.new("L", (W, H))]),
        "transparent",
    ),
    "one bit": ("depth", lambda: Image.new("1", (W, H)), "mode 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_images(tmp_path, case):
    modality, make, reason = REFUSED[case]
    with pytest.raises(DataError, match=reason):
        read_image(save(tmp_path / "image.png", make()), modality, None, None)


def test_refused_files(tmp_path):
    def refusal(path, modality="rgb"):
        with pytest.raises(DataError) as caught:
            read_image(path, modality, None, None)
        return str(caught.value)

    assert refusal(tmp_path / "none.png") == "no such file"
    (tmp_path / "text.png").write_text("not an image")
    assert "is not an image" in refusal(tmp_path / "text.png")
    buffer = io.BytesIO()
    Image.fromarray(colours(0, 64, 64)).save(buffer, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(buffer.getvalue()[:1500])
    assert "cannot be read (image file is truncated" in refusal(tmp_path / "cut.jpg")
    buffer = io.BytesIO()
    Image.fromarray(colours(0, 64, 64)).save(buffer, "PNG")
    (tmp_path / "cut.png").write_bytes(buffer.getvalue()[:1500])
    assert "cannot be read" in refusal(tmp_path / "cut.png")
    assert "mode CMYK" in refusal(save(tmp_path / "print.jpg", Image.fromarray(colours()).convert("CMYK")))
    frames = [Image.fromarray(colours(k)) for k in range(3)]
    frames[0].save(tmp_path / "film.tiff", save_all=True, append_images=frames[1:])
    assert "holds 3 images" in refusal(tmp_path / "film.tiff")


def test_sixteen_bit_colour_is_not_cut_in_silence(tmp_path):
    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    import zlib

    header = (2).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])  # 2 x 1 px, 16 bits, RGB
    data = zlib.compress(b"\0" + np.arange(6, dtype=">u2").tobytes())
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    (tmp_path / "deep.png").write_bytes(content)
    with pytest.raises(DataError, match="several channels of 16 bits"):
        read_image(tmp_path / "deep.png", "rgb", None, None)


# Sizes


def test_resizing_blends_rgb_and_ir_but_never_depth(tmp_path):
    steps = np.zeros((8, 8), np.uint8)
    steps[:, 3:] = 200
    depth = read_image(save(tmp_path / "depth.png", steps), "depth", (4, 4), None)
    assert set(np.unique(depth)) == {0, 200}
    ir = read_image(save(tmp_path / "ir.png", steps), "ir", (4, 4), None)
    assert len(np.unique(ir)) > 2
    np.testing.assert_array_equal(ir, np.asarray(Image.fromarray(steps).resize((4, 4), Image.Resampling.BILINEAR)))


def test_image_size_is_height_and_width(folder):
    save(folder / "rgb" / "2.png", colours(0, 31, 17))
    source = FolderSource(folder / "list.csv", "lab", image_size=(3, 5))
    assert source.shape == (3, 5)
    assert all(check_record(source.read(index), (3, 5)) == [] for index in range(4))
    assert FolderSource(folder / "list.csv", "lab", image_size=7).shape == (7, 7)


def test_without_image_size_every_file_of_another_size_is_reported(folder, tmp_path):
    save(folder / "rgb" / "2.png", colours(0, 9, W))
    save(folder / "ir" / "3.png", grays(0, H, 9))
    with pytest.raises(DataError) as caught:
        prepare(FolderSource(folder / "list.csv", "lab"), tmp_path / "stores")
    text = str(caught.value)
    assert "2 problem(s)" in text
    assert "row 4: rgb rgb/2.png: is 9 px high and 8 px wide, but the first image is 6 px high and 8 px wide" in text
    assert "row 5: ir ir/3.png: is 6 px high and 9 px wide" in text


def test_missing_and_unreadable_files_are_one_list(folder, tmp_path):
    (folder / "rgb" / "0.png").unlink()
    (folder / "depth" / "0.png").write_text("text")
    save(folder / "ir" / "1.png", colours())
    save(folder / "depth" / "3.png", np.array([[1, 900]], np.uint16))
    with pytest.raises(DataError) as caught:
        prepare(FolderSource(folder / "list.csv", "lab"), tmp_path / "stores")
    lines = str(caught.value).splitlines()
    assert lines[0] == "lab: 3 problem(s) in 4 rows, nothing was written"
    assert lines[1].startswith("  - row 2: rgb rgb/0.png: no such file; depth depth/0.png: is not an image")
    assert lines[2].startswith("  - row 3: ir ir/1.png: looks like a colour image")
    assert lines[3].startswith("  - row 5: depth depth/3.png: has 16 bits (values 1 to 900)")
    assert not list((tmp_path / "stores").iterdir())


def test_a_csv_in_the_wrong_place(folder):
    (folder / "elsewhere").mkdir()
    (folder / "list.csv").rename(folder / "elsewhere" / "list.csv")
    text = problems_of(folder / "elsewhere")
    assert "not one of the image files can be read" in text and "elsewhere/rgb/0.png" in text


# The CSV


def test_all_problems_of_the_csv_are_in_one_error(tmp_path):
    rows = [
        "1,anna,anna,v1,live,1,train,a.png,,",
        "1,anna,anna,v1,live,0,train,a.png,,",  # row 3: id again, label contradicts, label of the video
        "3,,anna,v2,live,yes,dev,,,",  # row 4: no subject, label, split, no image
        "",
        "5,bo,bo,v3,prnt,0,test,/etc/a.png,../b.png,c\\d.png",  # row 6: attack, three paths
        "6,bo,bo,v3,prnt,0,train,a.png,b.png,a.png",  # row 7: attack, split of the video, one file twice
        "7,bo,bo",
    ]
    (tmp_path / "list.csv").write_text("\n".join([HEADER, *rows]))
    lines = problems_of(tmp_path).splitlines()
    assert lines[0] == f"{tmp_path / 'list.csv'}: 15 problem(s)" and len(lines) == 16
    for expected in (
        "row 3: id '1' was already given in row 2",
        "row 3: label 0 contradicts attack 'live' (live is 1, any attack is 0)",
        "row 3: label '0' of video 'v1' is '1' in row 2",
        "row 4: subject is empty",
        "row 4: label is 'yes', expected 1 (bona fide) or 0 (attack)",
        "row 4: split is 'dev', expected train, validation, test. Did you mean 'validation'?",
        "row 4: rgb, depth, ir are all empty: at least one image is needed",
        "row 6: unknown attack 'prnt'. Did you mean 'print'?",
        "row 6: rgb '/etc/a.png' is not a path relative to the CSV",
        "row 6: depth '../b.png' leaves the folder of the CSV",
        "row 6: ir 'c\\d.png' is not a path relative to the CSV",
        "row 7: split 'train' of video 'v3' is 'test' in row 6",
        "row 7: 'a.png' is given for two modalities",
        "row 8: 3 cells, but the header has 10",
    ):
        assert sum(line.startswith(f"  - {expected}") for line in lines) == 1, expected


@pytest.mark.parametrize("column", ["subject", "unit", "split"])
def test_a_video_has_one_value(folder, column):
    edit(
        folder,
        *{
            "subject": ("f1,anna,", "f1,berta,"),
            "unit": ("f1,anna,unit-anna", "f1,anna,unit-x"),
            "split": ("a1,live,1,train,rgb/1", "a1,live,1,test,rgb/1"),
        }[column],
    )
    assert f"row 3: {column} " in problems_of(folder) and "1 problem(s)" in problems_of(folder)


@pytest.mark.parametrize(
    ("split", "meant"), [("val", "validation"), ("Dev", "validation"), ("training", "train"), ("eval", "test")]
)
def test_the_split_that_was_meant(folder, split, meant):
    edit(folder, ",train,", f",{split},")
    assert f"split is '{split}', expected train, validation, test. Did you mean '{meant}'?" in problems_of(folder)


def test_a_bona_fide_presents_itself(folder):
    text = (folder / "list.csv").read_text().splitlines()
    column = ["presenter", "carl", "", "carl", ""]
    (folder / "list.csv").write_text("\n".join(f"{line},{cell}" for line, cell in zip(text, column, strict=True)))
    assert "row 2: presenter 'carl' is not the subject 'anna'" in problems_of(folder)


def test_the_header(folder):
    edit(folder, "subject,unit", "subjet,id")
    lines = problems_of(folder).splitlines()
    assert lines[0].endswith("4 problem(s) in the header (row 1)")
    assert lines[1:3] == ["  - column 'subject' is missing", "  - column 'unit' is missing"]
    assert lines[3].startswith("  - unknown column 'subjet'. Did you mean 'subject'? Known: id, ")
    assert lines[4] == "  - column 'id' occurs twice"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "row 1 is empty"),
        (b"\n\n", "row 1 is empty"),
        (HEADER.encode(), "no rows below the header"),
        (HEADER.replace(",", ";").encode(), "not separated by commas"),
        (f"{HEADER}\n1,J\xfcrgen,".encode("latin-1"), "line 2 is not UTF-8"),
        (f'{HEADER}\n1,"open'.encode(), "not a CSV file"),
    ],
)
def test_files_that_are_no_such_csv(tmp_path, content, reason):
    (tmp_path / "list.csv").write_bytes(content)
    assert reason in problems_of(tmp_path)


def test_no_csv_at_all(tmp_path):
    assert "No such file" in problems_of(tmp_path)


def test_what_spreadsheets_write_is_accepted(folder):
    text = (folder / "list.csv").read_text()
    first = FolderSource(folder / "list.csv", "lab").read(2)
    rewritten = "\ufeff" + text.replace("\n", "\r\n").replace("bo,", ' "bo",'[1:]) + ",,,,,,,,,\r\n"
    (folder / "list.csv").write_bytes(rewritten.encode())
    source = FolderSource(folder / "list.csv", "lab")
    assert len(source) == 4 and source.read(2).subject == first.subject


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ranges": {"rgb": (0, 1023)}}, "rgb files have 8 bits"),
        ({"ranges": {"dept": (0, 1023)}}, "Did you mean 'depth'"),
        ({"ranges": {"depth": (1500, 300)}}, "does not rise: 1500 to 300"),
        ({"image_size": 0}, "image size"),
        ({"name": "../lab"}, "the name '../lab'"),
    ],
)
def test_arguments_that_make_no_sense(folder, options, reason):
    with pytest.raises(ConfigError, match=reason):
        FolderSource(folder / "list.csv", **{"name": "lab", **options})
