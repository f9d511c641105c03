"""Pictures that are no chest films, for ``benchmarks/gate.py --pictures``: from public packages.

Photographs, slices of brain MR volumes, CT, MR, ultrasound and nuclear images, and an X-ray of an
extremity. Nothing of it is kept in the repository. Usage (nibabel reads the volumes):

    pip download --no-deps -d wheels gradio mahotas imgaug ultralytics nilearn nibabel pydicom-data
    for wheel in wheels/*.whl; do unzip -q $wheel -d unpacked/$(basename $wheel | cut -d- -f1); done
    pip install nibabel pydicom-data
    python benchmarks/wrong_pictures.py unpacked OUT
"""

import sys
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels import pixel_array

from pneumoscope.data.radiograph import read_radiograph

PHOTOGRAPHS = ("gradio", "mahotas", "imgaug", "ultralytics")
VOLUMES = ("mni_icbm152_t1*.nii.gz", "anatomical.nii")
FILMS = ("CR", "DX")
SHARES = (0.35, 0.45, 0.5, 0.55, 0.65)


def save(values: np.ndarray, path: Path) -> None:
    low, spread = values.min(), max(float(np.ptp(values)), 1.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = ((values - low) * (255 / spread)).astype(np.uint8)
    scale = 2 if min(levels.shape) < 100 else 1
    Image.fromarray(np.kron(levels, np.ones((scale, scale), np.uint8))).save(path)


def main(unpacked: Path, out: Path) -> None:
    for package in PHOTOGRAPHS:
        for path in sorted((unpacked / package).rglob("*")):
            is_icon = any(word in path.name for word in ("icon", "logo", "copy"))
            if path.suffix.lower() not in (".jpg", ".jpeg", ".png") or is_icon:
                continue
            picture = Image.open(path)
            if path.stat().st_size > 8000 and min(picture.size) >= 100:
                save(np.asarray(picture.convert("L"), float), out / f"photographs/{path.stem}.png")
    for pattern in VOLUMES:
        volume = np.asarray(nibabel.load(next(unpacked.rglob(pattern))).dataobj, float).squeeze()
        for axis in range(3):
            for share in SHARES:
                section = np.rot90(volume.take(int(volume.shape[axis] * share), axis))
                name = f"{pattern[:4]}_{axis}_{share}.png"
                save(section, out / "brain MR slices" / name)
    seen = set()
    extremity = Path(str(get_testdata_file("RG3_UNCR.dcm", download=False)))
    folders = [path.parent for path in (extremity, Path(str(get_testdata_file("CT_small.dcm"))))]
    for path in [path for folder in folders for path in sorted(folder.glob("*.dcm"))]:
        try:
            dataset = dcmread(path)
            if dataset.Modality in FILMS or int(dataset.get("NumberOfFrames") or 1) > 1:
                continue
            values = pixel_array(dataset).astype(float)
        except Exception:
            continue  # not an image, or damaged on purpose
        values = values.mean(axis=2) if values.ndim == 3 else values
        key = (dataset.Modality, values.shape, int(values.mean()))
        if min(values.shape) >= 100 and "SC_rgb" not in path.name and key not in seen:
            seen.add(key)
            save(values, out / f"other modalities/{dataset.Modality}_{path.stem}.png")
    save(read_radiograph(extremity).pixels.astype(float), out / "extremity X-ray/RG3.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
