// Drafts that the server has not got yet lie in this browser (IndexedDB), so that nothing is lost by a reload, a closed
// window or a server that was killed.

export interface Kept {
  key: string; // studies, image, frame, window
  place: string; // studies, image
  frame: number;
  tab: string;
  seen: number; // revision that it was made from
  mask: Uint8Array;
  columns: number;
  rows: number;
  threshold: number;
  refine: boolean;
  time: number;
}

const STORE = "drafts";

const random = (): string => Array.from(crypto.getRandomValues(new Uint8Array(8)), (v) => v.toString(16).padStart(2, "0")).join("");

// Of this page as it is loaded now: a window that is duplicated gets another one.
export const writer = random();

// A window keeps its name when it is loaded again.
export const tab: string = (() => {
  const there = sessionStorage.getItem("casr-tab");
  const name = there ?? random();
  sessionStorage.setItem("casr-tab", name);
  return name;
})();

let opened: Promise<IDBDatabase> | null = null;

function database(): Promise<IDBDatabase> {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("casr-label", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "key" }).createIndex("place", "place");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

async function inStore<T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const transaction = (await database()).transaction(STORE, mode);
  const request = work(transaction.objectStore(STORE));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

export const keep = (one: Kept): Promise<IDBValidKey> => inStore("readwrite", (store) => store.put(one));
export const drop = (key: string): Promise<undefined> => inStore("readwrite", (store) => store.delete(key));
export const keptOf = (place: string): Promise<Kept[]> => inStore("readonly", (store) => store.index("place").getAll(place));
