"""What is changed in the OHIF 3.10.0-beta.5 that MONAI Label 0.8.5 brings, so that its panel works with angiograms.

As it comes, its mode takes CT and MR only, its protocol wants volumes, its panel asks port 8000 for the series, and
drops masks of what is no volume: an angiogram is a stack of frames. It asks the internet for its font, too, and breaks
down when a segmentation of a projection is opened.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["CHANGED", "Changed"]


@dataclass(frozen=True)
class Changed:
    """Changes of one file.

    Attributes:
        sha256: of the file as MONAI Label brings it; another one is left as it is.
        changes: text that stands there once or several times, and what takes its place.
    """

    sha256: str
    changes: dict[str, str] = field(repr=False)

    def of(self, text: str) -> str:
        """The text with all changes."""
        for old, new in self.changes.items():
            text = text.replace(old, new)
        return text


_FUNCTIONS = """\
// Changed by casr_label: an image is an instance here. The one of a display set, or of several the one that is shown.
function casrShown({ viewport }) {
  return dist_esm.getEnabledElements().find(one => one.viewport.id === viewport.viewportId)?.viewport;
}
function casrImage(info) {
  const { instances } = info.displaySet;
  const shown = casrShown(info)?.getCurrentImageId?.();
  return (instances.find(one => one.imageId === shown) ?? instances[0]).SOPInstanceUID;
}
function casrPage(info) {
  const at = info.displaySet.instances.length > 1 ? 0 : casrShown(info)?.getCurrentImageIdIndex?.() ?? 0;
  return '/#' + new URLSearchParams({ image: casrImage(info), frame: String(at + 1) });
}
function casrReason(response, otherwise) {
  try {
    return JSON.parse(new TextDecoder().decode(response.response.data)).detail || otherwise;
  } catch {
    return response.message || otherwise;
  }
}
// Puts the masks of an answer into the labelmap of their display set, image by image.
async function casrFill(panel, response, masks, mapping) {
  const { displaySetService, segmentationService, viewportGridService } = panel.props.servicesManager.services;
  const image = new URL(response.config.url).searchParams.get('image');
  const isOne = one => one.SOPInstanceUID === image;
  const displaySet = displaySetService.getActiveDisplaySets().find(one => one.imageIds && one.instances?.some(isOne));
  const { imageIds, instances } = displaySet;
  const [first] = instances;
  const size = first.Rows * first.Columns;
  const count = masks.length / size;
  const asked = JSON.parse(response.config.data.get('params')).frame;
  let start = 0;
  if (instances.length > 1) start = instances.findIndex(isOne);
  else if (/^\\d+$/.test(String(asked))) start = Number(asked);
  else if (count !== imageIds.length) {
    const said = 'The answer has ' + count + ' frames, the image ' + imageIds.length;
    throw new Error(said + '; choose frame "all" or a number.');
  }
  const labelmap = id => segmentationService.getSegmentation(id)?.representationData?.Labelmap;
  const cached = id => dist_esm.cache.getImage(id);
  const isOf = id => labelmap(id)?.imageIds?.some(one => imageIds.includes(cached(one)?.referencedImageId));
  const id = isOf('1') ? '1' : displaySet.displaySetInstanceUID;
  if (!isOf(id)) {
    const segments = panel.state.info.initialSegs;
    const options = { segmentationId: id, segments, label: 'Segmentations' };
    await segmentationService.createLabelmapForDisplaySet(displaySet, options);
  }
  for (const one of labelmap(id).imageIds) {
    const target = cached(one);
    const from = (imageIds.indexOf(target.referencedImageId) - start) * size;
    if (from < 0 || from + size > masks.length) continue;
    target.getPixelData().set(masks.subarray(from, from + size).map(value => mapping[value] ?? 0));
  }
  for (const { viewportId, displaySetInstanceUIDs } of viewportGridService.getState().viewports.values()) {
    if (!displaySetInstanceUIDs.includes(displaySet.displaySetInstanceUID)) continue;
    if (!segmentationService.getSegmentationRepresentations(viewportId, { segmentationId: id }).length) {
      await segmentationService.addSegmentationRepresentation(viewportId, { segmentationId: id });
    }
    for (const { segmentIndex, color } of Object.values(panel.state.info.initialSegs)) {
      esm.segmentation.config.color.setSegmentIndexColor(viewportId, id, segmentIndex, color);
    }
  }
  (0,dist_esm.triggerEvent)(dist_esm.eventTarget, esm.Enums.Events.SEGMENTATION_DATA_MODIFIED, { segmentationId: id });
}
"""

_FILL = """\
        try {
          await casrFill(this, response, data, modelToSegMapping);
        } catch (error) {
          console.error(error);
          const message = String(error.message);
          this.notification.show({ title: 'MONAI Label', message, type: 'error', duration: 10000 });
        }
"""

_LINK = """}, "Options / Configurations"), react.createElement("br", null), react.createElement("a", {
      href: "/",
      onClick: event => {
        event.preventDefault();
        window.open(casrPage(this.getActiveViewportInfo()), 'casr');
      }
    }, "Correct and store"), react.createElement("hr", {
"""

_SEG = """\
    isOverlayDisplaySet: true
  };
  // Changed by casr_label: without it the viewer would break down, and become black.
  if (![].concat(instance.SharedFunctionalGroupsSequence ?? [])[0]?.PixelMeasuresSequence) {
    displaySet.unsupported = true;
    displaySet.messages = new src/* DisplaySetMessageList */.WZ();
    displaySet.messages.addMessage(src/* DisplaySetMessage */.Ob.CODES.UNSUPPORTED_DISPLAYSET);
  }
"""

_FONT = """\
@font-face {
  font-family: Inter;
  font-weight: 100 900;
  font-display: swap;
  src: url(/assets/ohif/inter.woff2) format("woff2");
}
"""

CHANGED = {
    "2068.bundle.83ad900b6ad2110750da.js": Changed(  # the mode
        "cb1e700c82abfc4fe26b17fc5c56d858e034f8c71c8b41b34d16b10df6a762ad",
        {
            "modalitiesArray.includes('CT') || modalitiesArray.includes('MR')": "modalitiesArray.includes('XA') || "
            "modalitiesArray.includes('CT') || modalitiesArray.includes('MR')",
            "hangingProtocol: 'mpr',": "hangingProtocol: 'default',",
        },
    ),
    "3933.bundle.92d0a0e9bc7e6861b7c9.js": Changed(  # the panel
        "7844f59159b8eda422079064b0bffa17d2b76aa025b054097ff4ae8bc3b55acd",
        {
            "class MonaiLabelClient {\n": f"{_FUNCTIONS}class MonaiLabelClient {{\n",
            # Cookies do not know ports: that of another server on this computer would count here.
            "CookieUtils.getCookieString('MONAILABEL_SERVER_URL', 'http://' + window.location.host.split(':')[0] + "
            "':8000/')": "window.location.origin + '/'",
            "infer(model, displaySet.SeriesInstanceUID, params)": "infer(model, "
            "casrImage(this.props.getActiveViewportInfo()), params)",
            "'Failed to Run Segmentation'": "casrReason(response, 'Failed to Run Segmentation')",
            "        console.log('TODO:: Volume Object is NOT In Cache....');\n": _FILL,
            '}, "Options / Configurations"), /*#__PURE__*/react.createElement("hr", {\n': _LINK,
        },
    ),
    "7197.bundle.805c43530f838fa98d40.js": Changed(  # segmentations: those of projections have no pixel measures
        "e13dc738ff027ee2e17b263ceb9b9928986ef21e9f587ff2edcbcad424c67272",
        {"    isOverlayDisplaySet: true\n  };\n": _SEG},
    ),
    "app.bundle.css": Changed(
        "15ea595ed7d5f82d84dad64929ec6ebb746a7d41e9e5d348638db942783e8b00",
        {
            "@import url(https://fonts.googleapis.com/css2?family=Inter:wght@100..900&display=swap);\n": _FONT,
            "@import url(https://fonts.googleapis.com/css?family=Inter:100,300,400,500,700&display=swap);\n": "",
        },
    ),
    "index.html": Changed(
        "8836f8614ec3341f7a14d3dfe2119e3e05101c0207d4dc43e41d5e1d2b0ae74c",
        {
            '<link rel="preconnect" href="https://fonts.gstatic.com" crossorigin/>': "",
            '<link href="https://fonts.googleapis.com/css?family=Inter:100,300,400,500,700&display=swap" '
            'rel="stylesheet" rel="preload" as="style"/>': "",
        },
    ),
}  # fmt: skip
"""By name of the file."""
