"""Files and folders of other formats: what they are, and the line that opens them."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from .location import Location


@dataclass(frozen=True, slots=True)
class Format:
    """A file format: its suffixes, how its files begin, and what opens one as an array.

    `reader` names the adapter (in `formats/`) and the extra that it needs; where there is none,
    `line` opens a file, with the path as `{path}`. `made` makes such a file of an array.
    """

    name: str
    suffixes: tuple[str, ...]
    line: str = ""
    magic: tuple[bytes, ...] = ()
    at: int = 0
    made: str = ""
    reader: str = ""


_BIOIO = "bioio.BioImage({path!r}).xarray_dask_data"
_IMAGE = "skimage.io.imread({path!r})"
_ITK = "SimpleITK.GetArrayFromImage(SimpleITK.ReadImage({path!r}))"

_N5 = (
    "tensorstore.open({{'driver': 'n5', 'kvstore': {{'driver': 'file', 'path': {path!r}}}}})"
    ".result()"
)
_OPEN = "Open it with {line}, and pass that as the source, with axes="

FORMATS = (
    Format(
        "a TIFF file",
        (".tif", ".tiff", ".btf", ".lsm"),
        magic=(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        made="tifffile.imwrite",
        reader="tiff",
    ),
    Format("a CZI file", (".czi",), magic=(b"ZISRAWFILE",), reader="czi"),
    Format("an ND2 file", (".nd2",), _BIOIO, (b"\xda\xce\xbe\x0a",)),
    Format("a LIF file", (".lif",), _BIOIO),
    Format(
        "a NIfTI file",
        (".nii", ".nii.gz"),
        magic=(b"n+1\0", b"ni1\0"),
        at=344,
        made="nibabel.save",
        reader="nifti",
    ),
    Format("a NIfTI file", (), magic=(b"n+2\0",), at=4, reader="nifti"),
    Format(
        "an npy file",
        (".npy",),
        "numpy.load({path!r}, mmap_mode='r')",
        (b"\x93NUMPY",),
        made="numpy.save",
    ),
    Format("an npz archive", (".npz",), "numpy.load({path!r})['name']", made="numpy.savez"),
    Format(
        "an HDF5 file",
        (".h5", ".hdf5", ".hdf", ".ims", ".nc"),
        magic=(b"\x89HDF\r\n\x1a\n",),
        made="h5py",
        reader="hdf5",
    ),
    Format("an MRC file", (".mrc", ".map", ".rec"), "mrcfile.mmap({path!r}).data", (b"MAP ",), 208),
    Format("a PNG file", (".png",), _IMAGE, (b"\x89PNG",), made="skimage.io.imsave"),
    Format("a JPEG file", (".jpg", ".jpeg"), _IMAGE, (b"\xff\xd8\xff",), made="skimage.io.imsave"),
    Format("a JPEG 2000 file", (".jp2", ".j2k"), "imagecodecs.imread({path!r})"),
    Format("a BMP file", (".bmp",), _IMAGE, (b"BM",), made="skimage.io.imsave"),
    Format("a GIF file", (".gif",), _IMAGE, (b"GIF8",), made="skimage.io.imsave"),
    Format("a WebP file", (".webp",), _IMAGE, made="skimage.io.imsave"),
    Format("a MetaImage file", (".mha", ".mhd"), _ITK, made="SimpleITK.WriteImage"),
    Format("an NRRD file", (".nrrd", ".nhdr"), _ITK, (b"NRRD000",), made="SimpleITK.WriteImage"),
    Format("a DICOM file", (".dcm",), "pydicom.dcmread({path!r}).pixel_array", (b"DICM",), 128),
    Format("a ZIP file", (".zip",), "zarr.open(zarr.storage.ZipStore({path!r}, mode='r'))"),
    Format(
        "an N5 container",
        (".n5",),
        _N5.replace("{path!r}", "{path!r} + '/dataset/'"),
    ),
)

_READ_BY_DASK = (".png", ".jpg", ".jpeg")

_BYTES = 512

_LISTED = 1000
"""Entries of a folder that are looked at."""


def format_named(name: str) -> Format | None:
    """The format that the suffix of a name says.

    >>> format_named("stack.ome.TIF").name, format_named("stack.zarr")
    ('a TIFF file', None)
    """
    lower = name.lower().rstrip("/")
    return next((each for each in FORMATS if lower.endswith(each.suffixes)), None)


def instead_of_zarr(location: Location) -> str:
    """What lies at a place where there is no Zarr, and how it is opened; empty where nothing is."""
    path = location.local_path
    if path is None:
        named = format_named(location.name)
        if named is None:
            return ""
        return f"named like {named.name}, and no Zarr. Copy it to disk, and open it there"
    if glob.has_magic(location.name) and not path.exists():
        return f"a pattern, which several files may match. {_open_many(location.name)}"
    if path.is_file():
        return _of_file(path, location.name)
    return _of_folder(path, location.name) if path.is_dir() else ""


def why_missing(location: Location) -> str:
    """Why nothing may be found at a place: a slip in its name, a link that leads nowhere."""
    path = location.local_path
    if location.dangling:
        return f"it is a link to {location.dangling}, where there is nothing"
    if path is None or path.exists() or not path.parent.is_dir():
        return "check the path"
    names = [entry.name for entry in islice(path.parent.iterdir(), _LISTED)]
    near = get_close_matches(path.name, names, 1)
    return f"there is {near[0]} beside it" if near else "check the path"


def format_at_path(path: Path) -> Format | None:
    """The format of a file, by how it begins and its name; None where it is none of these.

    Raises
    ------
    OSError
        If it may not be read.
    """
    with open(path, "rb") as file:
        head = file.read(_BYTES)
    named = format_named(path.name)
    known = [f for f in FORMATS if any(head[f.at :].startswith(magic) for magic in f.magic)]
    # An npz is a ZIP file, and what is compressed does not show how it begins.
    is_hidden = path.name.lower().endswith(".gz")
    if named is not None and (named in known or not named.magic or is_hidden):
        return named
    return known[0] if known else None


def _of_file(path: Path, name: str) -> str:
    node = next(_nodes_around(path), None)
    if node is not None:
        return f"a file inside the Zarr array or group {node}: name that"
    found = format_at_path(path)
    if found is not None:
        return _told(found, name)
    named = format_named(name)
    if named is None:
        return "a file, and no Zarr: a Zarr array is a folder"
    return f"named like {named.name}, and does not begin like one: it is torn, or another file"


def _of_folder(path: Path, name: str) -> str:
    node = next(_nodes_around(path), None)
    if node is not None:
        return f"a folder inside the Zarr array or group {node}, without metadata of its own"
    n5 = _n5_of(path, name)
    if n5:
        return n5
    entries = list(islice(path.iterdir(), _LISTED))
    if not entries:
        return "an empty folder"
    zarrs = sorted(e.name for e in entries if e.suffix == ".zarr" or _is_node(e))
    if zarrs:
        return f"a folder that holds {zarrs[0]}: name {name.rstrip('/')}/{zarrs[0]}"
    suffixes = Counter(entry.suffix for entry in entries if _is_one_of_many(entry))
    if not suffixes:
        return "a folder without Zarr metadata"
    ((suffix, _),) = suffixes.most_common(1)
    pattern = f"{name.rstrip('/')}/*{suffix}"
    return f"a folder of {suffix} files. {_open_many(pattern)}"


def _is_one_of_many(entry: Path) -> bool:
    named = format_named(entry.name)
    return (named is not None and bool(named.reader)) or entry.suffix.lower() in _READ_BY_DASK


def _open_many(pattern: str) -> str:
    suffix = Path(pattern).suffix.lower()
    named = format_named(pattern)
    if suffix == ".zarr" or (named is not None and named.reader):
        stacked = (
            ""
            if suffix == ".zarr"
            else (f", or stack them with daskpatch.open_sequence({pattern!r}, axis='Z'), or 'T'")
        )
        return f"Give {pattern} to plan or predict, as a series of images{stacked}"
    if suffix not in _READ_BY_DASK:
        return "Name one of them, or give the list of their arrays, a series"
    return (
        f"Open them with dask.array.image.imread({pattern!r}), and pass that as the source, with "
        "axes="
    )


def _n5_of(folder: Path, name: str) -> str:
    """What a folder of N5 is, a container or one of its datasets; empty where it is neither."""
    try:
        attributes = (folder / "attributes.json").read_bytes()[: 2**16]
    except OSError:
        return ""
    if all(word in attributes for word in (b'"dimensions"', b'"blockSize"', b'"dataType"')):
        line = _N5.format(path=name.rstrip("/") + "/")
        return f"an N5 dataset. {_OPEN.format(line=line)}"
    return _told(FORMATS[-1], name) if b'"n5"' in attributes else ""


def _told(found: Format, name: str) -> str:
    if found.reader:
        return f"{found.name}, which is read, and no Zarr"
    return f"{found.name}. {_OPEN.format(line=found.line.format(path=name))}"


def _nodes_around(path: Path) -> Iterator[Path]:
    return (folder for folder in path.parents if _is_node(folder))


def _is_node(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))
