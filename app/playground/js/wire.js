/** How the values of the form and the pictures travel in a request of the API. Knows no page. */

/** Parameters of the control of the form, by their names in a list of controls. */
export const OF_FIRST = {
  type: "cn_type",
  strength: "cn_strength",
  start: "cn_start",
  stop: "cn_stop",
};

/**
 * Further controls travel as a list, whose first element is the control of the form then.
 * @param {Object} given values of the form; controls: further ones, each {type, strength, start,
 *   stop, picture?: File, ready?: whether that picture is a control map}
 * @returns {{values: Object, uploads: {name: string, file: Blob, title: string}[]}}
 *   name: of the parameter, for example controls[1].image; title: of the file
 */
export const wireOf = ({ controls: more = [], ...given }, picture) => {
  const values = { ...given };
  let name = picture?.field ?? "image";
  if (more.length) {
    const first = {};
    for (const [own, parameter] of Object.entries(OF_FIRST)) {
      first[own] = given[parameter];
      delete values[parameter];
    }
    values.controls = [first, ...more.map(({ picture: _, ready: __, ...plain }) => plain)];
    if (name === "control_image") name = "controls[0].control_image";
  }
  const own = more.map(({ picture: file, ready }, index) => {
    const parameter = ready ? "control_image" : "image";
    return { name: `controls[${index + 1}].${parameter}`, file, title: file?.name };
  });
  const main = [];
  if (picture?.kind === "file") main.push({ name, file: picture.file, title: picture.name });
  else if (name.startsWith("controls")) values.controls[0].control_image = picture.url;
  else if (picture) values[name] = picture.url;
  return { values, uploads: [...main, ...own.filter(({ file }) => file)] };
};

/** The opposite, without pictures: values of the form from those of a request. */
export const formOf = ({ controls: [first, ...more] = [], ...given }) => {
  const names = Object.entries(first ? OF_FIRST : {});
  const own = Object.fromEntries(names.map(([name, parameter]) => [parameter, first[name]]));
  return { ...given, ...own, controls: more };
};
