// What this browser keeps: cards with their keys, keys whose answer has not come yet, and how far its clock is off.
const NAME = "rescard";
const STORES = ["cards", "pending", "settings"];

function finished(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("another tab holds an older database"));
  });
}

/** The open database. Rejects where the browser keeps nothing, as some do in private windows. */
export async function openStore() {
  const opening = indexedDB.open(NAME, 1);
  opening.onupgradeneeded = () => STORES.forEach((store) => opening.result.createObjectStore(store));
  const database = await finished(opening);
  database.onversionchange = () => database.close();

  const write = (stores, work) =>
    new Promise((resolve, reject) => {
      const transaction = database.transaction(stores, "readwrite", { durability: "strict" });
      transaction.oncomplete = () => resolve();
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
      work(transaction);
    });
  const read = (store, key) => finished(database.transaction(store).objectStore(store).get(key));

  return {
    cards: () => finished(database.transaction("cards").objectStore("cards").getAll()),
    pending: (link) => read("pending", link),
    setting: (name) => read("settings", name),
    keepPending: (link, keys) => write(["pending"], (t) => t.objectStore("pending").put(keys, link)),
    keepSetting: (name, value) => write(["settings"], (t) => t.objectStore("settings").put(value, name)),
    /** A card, in the place of the one under `former` where its id has changed; its link is no longer pending. */
    keepCard: (card, former) =>
      write(["cards", "pending"], (t) => {
        if (former && former !== card.id) t.objectStore("cards").delete(former);
        t.objectStore("cards").put(card, card.id);
        t.objectStore("pending").delete(card.link);
      }),
    removeCard: (id) => write(["cards"], (t) => t.objectStore("cards").delete(id)),
  };
}
